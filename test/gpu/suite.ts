import { writeFileSync } from 'node:fs';
import type { OperationCase } from '../harness/case.js';
import type { CaseReport } from '../harness/run-case.js';

/** What one operation's cases came to. */
export class OperationSummary {
  readonly operation: string;
  readonly failures: { name: string; fill: string; failures: readonly string[] }[] = [];
  cases = 0;
  runs = 0;
  worstRatio = 0;
  worstCase = '';
  milliseconds = 0;

  constructor(operation: string) {
    this.operation = operation;
  }

  add({ name, fill, failures, comparisons }: CaseReport): void {
    ++this.runs;
    if (failures.length > 0) this.failures.push({ name, fill, failures });
    for (const { worstRatio } of comparisons) {
      if (worstRatio <= this.worstRatio) continue;
      this.worstRatio = worstRatio;
      this.worstCase = `${name} (${fill})`;
    }
  }
}

/** The cases that the environment asks for: WARPTILE_OPERATION (names, commas), WARPTILE_FILTER (a pattern), WARPTILE_REDUCED=1. */
export function selectCases(cases: readonly OperationCase[]): {
  readonly selected: readonly OperationCase[];
  readonly complete: boolean;
} {
  const { WARPTILE_OPERATION: operations, WARPTILE_FILTER: pattern, WARPTILE_REDUCED: reduced } = process.env;
  const wanted = operations?.split(',').map((name) => name.trim());
  const filter = new RegExp(pattern ?? '');
  const selected = cases.filter(
    (item) =>
      (wanted === undefined || wanted.includes(item.operation)) &&
      filter.test(item.name) &&
      (reduced !== '1' || item.reduced === true),
  );
  return { selected, complete: !operations && !pattern && reduced !== '1' };
}

/** A row an operation: cases, runs, failures, largest error over its bound, seconds. */
export function summaryTable(summaries: readonly OperationSummary[]): string {
  const head = ['operation', 'cases', 'runs', 'failed', 'error/bound', 'seconds', 'worst case'];
  const rows = summaries.map((row) => [
    row.operation,
    String(row.cases),
    String(row.runs),
    String(row.failures.length),
    row.worstRatio.toFixed(3),
    (row.milliseconds / 1000).toFixed(1),
    row.worstCase,
  ]);
  const widths = head.map((title, column) =>
    Math.max(...[head, ...rows].map((row) => row[column].length), title.length),
  );
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Writes the summaries, failures included, as JSON. */
export function writeReport(file: string, device: string, summaries: readonly OperationSummary[]): void {
  // JSON has no Infinity.
  const finite = (_key: string, value: unknown): unknown =>
    typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
  writeFileSync(file, `${JSON.stringify({ device, operations: summaries }, finite, 2)}\n`);
}
