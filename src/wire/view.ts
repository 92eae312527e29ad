/**
 * What every codec of this folder starts with: a DataView over bytes and a bounds check.
 *
 * A `parseX(view, off, len)` may look at `len` bytes from `off` and at nothing past the view's end; when its header does
 * not fit it returns null, it never throws. Numbers are big-endian as on the wire. These codecs serve the edges (reports,
 * tools, tests); the simulated kernel reads fields in place in the packet arena.
 */

/** A DataView over exactly the bytes of a Uint8Array. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** The Uint8Array over `len` bytes of a view from `off`, shared, cut at the view's end. */
export function bytesOf(view: DataView, off: number, len: number): Uint8Array {
  const room = Math.max(0, view.byteLength - off)
  return new Uint8Array(view.buffer, view.byteOffset + Math.min(off, view.byteLength), Math.max(0, Math.min(len, room)))
}

/** Whether a header of `need` bytes fits in `len` bytes from `off`, and in the view. */
export function fits(view: DataView, off: number, len: number, need: number): boolean {
  return off >= 0 && len >= need && off + need <= view.byteLength
}

/** Copies bytes into a view at `off`. */
export function putBytes(view: DataView, off: number, bytes: Uint8Array): void {
  new Uint8Array(view.buffer, view.byteOffset + off, bytes.length).set(bytes)
}
