// Asks in a dialog what the link would ask on a page of its own. The answer is an ordinary form: it works without this.
import { fromHtml } from "./dom.js";

async function shown(dialog, url, options = {}) {
  const answer = await fetch(url, { ...options, headers: { "HX-Request": "true" } });
  if (answer.redirected || ![200, 400].includes(answer.status)) return false;
  dialog.replaceChildren(fromHtml(await answer.text()));
  if (!dialog.open) dialog.showModal();
  dialog.querySelector("[name=type], [name=reason]")?.focus();
  return true;
}

function box() {
  let dialog = document.getElementById("act");
  if (!dialog) {
    dialog = document.createElement("dialog");
    dialog.id = "act";
    dialog.setAttribute("aria-labelledby", "act-title");
    document.body.append(dialog);
  }
  return dialog;
}

document.addEventListener("click", async (click) => {
  const link = click.target.closest("a[data-dialog]");
  if (link && !click.ctrlKey && !click.metaKey && !click.shiftKey && click.button === 0) {
    click.preventDefault();
    if (!(await shown(box(), link.href).catch(() => false))) location.assign(link.href);
  } else if (click.target.closest("dialog#act [data-close]")) {
    click.preventDefault();
    document.getElementById("act").close();
  }
});

document.addEventListener("submit", async (submit) => {
  const form = submit.target.closest("form[data-dialog-form], form[data-dialog-get]");
  if (!form) return;
  submit.preventDefault();
  const said = new URLSearchParams(new FormData(form));
  const well = form.dataset.dialogGet !== undefined
    ? await shown(box(), `${form.action}?${said}`).catch(() => false)
    : await shown(box(), form.action, { method: "POST", body: said }).catch(() => false);
  if (!well) form.submit();
});
