import { formatFail } from './files.js';

const newline = 10;
const space = 32;
const tab = 9;
const carriageReturn = 13;
const comma = 44;
const point = 46;
const plus = 43;
const minus = 45;
const zero = 48;

// Powers of ten that float64 holds exactly: a significand below 2^53 times or over one of them is rounded once,
// so it is the correctly rounded value of the text (Clinger 1990).
const powersOfTen = Array.from({ length: 23 }, (_, exponent) => 10 ** exponent);
const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?$/;
const special = /^([+-]?)(?:inf|infinity|(nan))$/i;

/** Reads numbers from lines of ASCII text held in memory; every complaint names file, line and column. */
export class TextScanner {
  readonly name: string;
  readonly #bytes: Uint8Array;
  #position = 0;
  #line = 1;
  #lineStart = 0;

  constructor(bytes: Uint8Array, name: string) {
    this.#bytes = bytes;
    this.name = name;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#position;
  }

  /** Moves past blank lines; false at the end of the text. */
  nextLine(): boolean {
    const bytes = this.#bytes;
    for (; this.#position < bytes.length; ++this.#position) {
      const byte = bytes[this.#position];
      if (byte === newline) this.#startLine(this.#position + 1);
      else if (byte !== space && byte !== tab && byte !== carriageReturn) return true;
    }
    return false;
  }

  /** The first byte not read yet, as a character; '' at the end. */
  peek(): string {
    return this.#position < this.#bytes.length ? String.fromCharCode(this.#bytes[this.#position]) : '';
  }

  /** The rest of the line, moving past its end; of a longer line only the first 1,024 characters. */
  restOfLine(): string {
    const found = this.#bytes.indexOf(newline, this.#position);
    const end = found < 0 ? this.#bytes.length : found;
    const text = latin1(this.#bytes, this.#position, Math.min(end, this.#position + 1024));
    this.#position = Math.min(end + 1, this.#bytes.length);
    if (found >= 0) this.#startLine(found + 1);
    return text.replace(/\r$/, '');
  }

  /** The next integer of the line, in [minimum, maximum]. A comma before it is skipped if `commas`. */
  integer(what: string, minimum: number, maximum: number, commas = false): number {
    this.#skipBlanks(commas);
    const bytes = this.#bytes;
    const start = this.#position;
    let value = 0;
    let end = start;
    for (; end < bytes.length; ++end) {
      const digit = bytes[end] - zero;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    // Past 2^53 a value is inexact, but then it is past any maximum too.
    if (end === start || value < minimum || value > maximum || !this.#endsToken(end, commas)) {
      this.fail(what, `an integer from ${minimum} to ${maximum}`);
    }
    this.#position = end;
    return value;
  }

  /** The next number of the line: decimal, or inf and nan as C prints them. */
  number(what: string): number {
    this.#skipBlanks(false);
    const bytes = this.#bytes;
    let at = this.#position;
    const negative = bytes[at] === minus;
    if (negative || bytes[at] === plus) ++at;
    let significand = 0;
    let digits = 0;
    let exponent = 0;
    let afterPoint = false;
    for (; at < bytes.length; ++at) {
      const digit = bytes[at] - zero;
      if (digit >= 0 && digit <= 9) {
        significand = significand * 10 + digit;
        ++digits;
        if (afterPoint) --exponent;
      } else if (bytes[at] === point && !afterPoint) afterPoint = true;
      else break;
    }
    // 'e' and 'E' differ in bit 5.
    if (digits > 0 && (bytes[at] | 32) === 101) {
      const negativeExponent = bytes[at + 1] === minus;
      let next = at + (negativeExponent || bytes[at + 1] === plus ? 2 : 1);
      const first = next;
      let power = 0;
      for (; next < bytes.length && next - first < 6; ++next) {
        const digit = bytes[next] - zero;
        if (digit < 0 || digit > 9) break;
        power = power * 10 + digit;
      }
      if (next > first) {
        exponent += negativeExponent ? -power : power;
        at = next;
      }
    }
    if (digits === 0 || digits > 15 || Math.abs(exponent) > 22 || !this.#endsToken(at, false)) {
      return this.#slowNumber(what);
    }
    this.#position = at;
    const value = exponent < 0 ? significand / powersOfTen[-exponent] : significand * powersOfTen[exponent];
    return negative ? -value : value;
  }

  /** Nothing but blanks up to the end of the line or the text; moves past it. */
  endLine(): void {
    this.#skipBlanks(false);
    if (this.#position >= this.#bytes.length) return;
    if (this.#bytes[this.#position] !== newline) this.fail('end of entry', 'the end of the line');
    this.#startLine(++this.#position);
  }

  /** Nothing but blank lines up to the end of the text. */
  endText(): void {
    if (this.nextLine()) this.fail('end of data', 'the end of the file');
  }

  /** Throws ERR_FORMAT for what stands at the current place, or for `received`. */
  fail(what: string, expected: string, received: unknown = this.#token()): never {
    const column = this.#position - this.#lineStart + 1;
    return formatFail(this.name, `line ${this.#line}, column ${column}: ${what}`, expected, received);
  }

  #slowNumber(what: string): number {
    const text = this.#token();
    const match = special.exec(text);
    if (!match && !decimal.test(text)) this.fail(what, 'a number');
    this.#position += text.length;
    if (match === null) return Number(text.replace(/d/i, 'e'));
    if (match[2] !== undefined) return Number.NaN;
    return match[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }

  /** The characters up to the next blank, at most 400. */
  #token(): string {
    let end = this.#position;
    const limit = Math.min(this.#bytes.length, end + 400);
    while (end < limit && !this.#endsToken(end, false)) ++end;
    if (end > this.#position) return latin1(this.#bytes, this.#position, end);
    return end < this.#bytes.length ? 'the end of the line' : 'the end of the file';
  }

  #endsToken(at: number, commas: boolean): boolean {
    const byte = this.#bytes[at];
    return (
      at >= this.#bytes.length ||
      byte === space ||
      byte === newline ||
      byte === tab ||
      byte === carriageReturn ||
      (commas && byte === comma)
    );
  }

  #skipBlanks(commas: boolean): void {
    const bytes = this.#bytes;
    let commasLeft = commas ? 1 : 0;
    for (; this.#position < bytes.length; ++this.#position) {
      const byte = bytes[this.#position];
      if (byte === comma && commasLeft-- > 0) continue;
      if (byte !== space && byte !== tab && byte !== carriageReturn) return;
    }
  }

  #startLine(position: number): void {
    this.#lineStart = position;
    ++this.#line;
  }
}

function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1');
}
