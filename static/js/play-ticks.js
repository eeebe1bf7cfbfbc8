// The strip under the slider: a mark per moment where something happened, the bad ones in colour.
export function drawTicks(canvas, moments) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !moments) return;
  const ratio = devicePixelRatio || 1;
  Object.assign(canvas, { width: width * ratio, height: height * ratio });
  const brush = canvas.getContext("2d");
  brush.scale(ratio, ratio);
  const style = getComputedStyle(canvas); // resolves light-dark(), which a canvas can't
  const last = Math.max(1, moments.length - 1);
  const marks = moments.map(({ bad }, at) => ({ bad, x: Math.round((at / last) * (width - 2)) }));
  brush.fillStyle = style.color;
  for (const { x } of everyPixel(marks)) brush.fillRect(x, height / 2 - 3, 1, 6);
  brush.fillStyle = style.outlineColor;
  for (const { x } of everyPixel(marks.filter((mark) => mark.bad))) brush.fillRect(x - 0.5, 0, 2, height);
}

function everyPixel(marks) {
  return marks.filter((mark, at) => !at || mark.x - marks[at - 1].x >= 1);
}
