// COCO's compressed run lengths (pycocotools, maskApi.c, rleFrString): down the columns, outside of the mask first.

/** Row by row, 1 where the mask is: a Uint8Array of rows x columns. */
export function decode({ size: [rows, columns], counts }) {
  const mask = new Uint8Array(rows * columns);
  const runs = [];
  let place = 0;
  while (place < counts.length) {
    let run = 0, shift = 0, group;
    do {
      group = counts.charCodeAt(place++) - 48;
      run |= (group & 0x1f) << shift;
      shift += 5;
    } while (group & 0x20);
    if (group & 0x10) run |= -1 << shift;
    if (runs.length > 2) run += runs[runs.length - 2];
    runs.push(run);
  }
  let position = 0;
  runs.forEach((run, index) => {
    if (index % 2) {
      for (let each = position; each < position + run; each++) {
        mask[(each % rows) * columns + Math.floor(each / rows)] = 1;
      }
    }
    position += run;
  });
  return mask;
}

/** The run lengths of a mask (rleToString): a Uint8Array of rows x columns, row by row. */
export function encode(mask, rows, columns) {
  const runs = [];
  let last = 0, length = 0;
  for (let column = 0; column < columns; column++) {
    for (let row = 0; row < rows; row++) {
      const inside = mask[row * columns + column];
      if (inside !== last) {
        runs.push(length);
        length = 0;
        last = inside;
      }
      length++;
    }
  }
  runs.push(length);
  let counts = "";
  runs.forEach((run, index) => {
    let rest = index > 2 ? run - runs[index - 2] : run;
    for (let more = true; more; ) {
      let group = rest & 0x1f;
      rest >>= 5;
      more = group & 0x10 ? rest !== -1 : rest !== 0;
      if (more) group |= 0x20;
      counts += String.fromCharCode(group + 48);
    }
  });
  return { size: [rows, columns], counts };
}
