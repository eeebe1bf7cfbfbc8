// Numbers of a payload as they were written.
// A number as it was written: 64-bit ids and 1.0 would otherwise be shown as other numbers.
export class Written {
  constructor(source) {
    this.source = source;
  }
}

export function asWritten(name, value, context) {
  return typeof value === "number" && context && String(value) !== context.source ? new Written(context.source) : value;
}
