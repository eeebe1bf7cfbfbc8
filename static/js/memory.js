// What a reader chose, remembered in cookies, so that the server renders the next page that way at once.
export function read(name, allowed) {
  const pair = document.cookie.split("; ").find((cookie) => cookie.startsWith(`${name}=`));
  const value = pair?.slice(name.length + 1);
  return allowed.includes(value) ? value : allowed[0];
}

export function write(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=lax`;
}
