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
