import { writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { type Comparison, compareReports, readReport } from '../../bench/compare.js';
import { losses, summaries } from '../../bench/goals.js';
import { htmlReport } from '../../bench/html.js';
import { hunt, huntOperations } from '../../bench/hunt.js';
import { bundledData, loadMatrices } from '../../bench/matrices.js';
import {
  coarsePeers,
  lossLines,
  makeReport,
  peerProblems,
  preparationLines,
  type Report,
  rowsTable,
  summaryTable,
} from '../../bench/report.js';
import { operationNames, runBenchmark } from '../../bench/run.js';
import { type Column, columns } from '../../bench/timings.js';
import type { Device } from '../device/device.js';
import { fail, WarptileError } from '../errors.js';
import type { FloatDType } from '../tensor/dtype.js';
import { deviceOption, dtypeOption, jsonOption, openNamed, positiveInteger } from './options.js';
import { ProgressBar } from './progress.js';

interface BenchOptions {
  readonly data: string;
  readonly device: string;
  readonly dtype: readonly FloatDType[];
  readonly n?: readonly number[];
  readonly filter?: string;
  readonly quick?: boolean;
  readonly full?: boolean;
  readonly warm?: boolean;
  readonly cold?: boolean;
  readonly eager?: boolean;
  /** false: none; undefined: all that there are. */
  readonly peers?: readonly string[] | boolean;
  readonly energy?: boolean;
  readonly tune?: boolean;
  readonly hunt?: number;
  readonly seed: string;
  readonly json?: string;
  readonly html?: string;
  readonly compare?: string;
}

const libraries = ['cusparse', 'cublas', 'torch'];

export function benchCommand(): Command {
  return new Command('bench')
    .description('measure every operation on problems of a size that suits the device, and check the results')
    .argument('[operation...]', `only these: ${operationNames.join(', ')}`)
    .option('--data <folder>', 'sparse matrices: every .mtx and .smtx file below it', bundledData())
    .addOption(deviceOption())
    .addOption(dtypeOption().default(['float32', 'float16']))
    .option(
      '--n <size...>',
      'only these sizes: dense columns, batch rows or sequence length',
      positiveInteger,
    )
    .option('--filter <text>', "only problems whose 'operation problem dtype' contains the text")
    .option('--quick', 'fewer and smaller problems, fewer samples')
    .option('--full', 'every problem that the goals speak of, in every column of time')
    .option('--warm', 'time replayed from a CUDA graph, operands where the last call left them (the default)')
    .option('--cold', 'time with the L2 cache emptied before every call')
    .option('--eager', 'time of calls one after another as a program makes them')
    .option('--peers <libraries>', `compare with these only: ${libraries.join(',')}`, parseLibraries)
    .option('--no-peers', 'leave the vendor libraries out')
    .option('--energy', "joules of a call, over windows of 5 s of the card's energy counter")
    .option(
      '--tune',
      "measure the likely plans of each spmm and sddmm first, and keep the fastest in the user's autotune cache",
    )
    .option('--hunt <count>', 'random problems instead: prints those that cuSPARSE does faster', parseCount)
    .option('--seed <text>', 'which random problems the hunt takes', 'hunt')
    .option(
      '--compare <baseline>',
      'exit code 1 where a problem is slower than in this JSON file, beyond noise',
    )
    .addOption(jsonOption())
    .option('--html <file>', 'also write a page with plots, which needs no network')
    .action(bench);
}

function parseLibraries(text: string): string[] {
  const names = text.split(',');
  if (names.some((name) => !libraries.includes(name))) {
    throw new InvalidArgumentError(`They must be of ${libraries.join(', ')}, separated by commas.`);
  }
  return names;
}

function parseCount(text: string): number {
  return positiveInteger(text)[0];
}

async function bench(operations: readonly string[], options: BenchOptions): Promise<void> {
  const allowed = options.hunt === undefined ? operationNames : huntOperations;
  for (const name of operations) {
    if (!allowed.includes(name)) fail('ERR_ARGUMENT', 'operation', `one of ${allowed.join(', ')}`, name);
  }
  if (options.quick && options.full) fail('ERR_ARGUMENT', '--full', 'no --quick beside it', 'both');
  const baseline = options.compare === undefined ? undefined : readReport(options.compare);
  const start = performance.now();
  const report = await (options.hunt === undefined ? runAll : runHunt)(operations, options);
  const { rows, ceilings } = report;
  if (rows.length === 0) throw new WarptileError('ERR_ARGUMENT', 'no problem matches the options');
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
  if (options.html !== undefined) writeFileSync(options.html, htmlReport(report));
  if (ceilings.copyGbps !== undefined) console.log(roofLine(report));
  const groups = summaries(rows);
  if (groups.length > 0) {
    console.log("cuSPARSE's time over ours:");
    console.log(summaryTable(groups));
  }
  for (const line of [...preparationLines(rows), ...coarsePeers(rows), ...lossLines(losses(rows))])
    console.log(line);
  for (const line of peerProblems(rows)) console.log(`left out: ${line}`);
  const failed = rows.filter((row) => !row.pass);
  for (const { op, problem, dtype, note } of failed) console.log(`FAIL ${op} ${problem} ${dtype}: ${note}`);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(
    failed.length === 0
      ? `All ${rows.length} problems pass their check (${seconds} s).`
      : `${failed.length} of ${rows.length} problems fail their check (${seconds} s).`,
  );
  const slower = baseline === undefined ? 0 : printComparison(compareReports(baseline, report));
  if (failed.length > 0 || slower > 0) process.exitCode = 1;
}

async function runAll(operations: readonly string[], options: BenchOptions): Promise<Report> {
  const matrices = await loadMatrices(options.data);
  const device = await openNamed(options.device, { autotune: options.tune ?? false });
  console.log(`${matrices.length} sparse matrices from ${options.data}`);
  const { filter, peers } = options;
  return withBar(device, (bar) => {
    let done = 0;
    return runBenchmark(
      device,
      {
        matrices,
        operations,
        dtypes: options.dtype,
        sizes: options.n ?? [],
        ...(filter === undefined ? {} : { filter }),
        scale: options.quick ? 'quick' : options.full ? 'full' : 'default',
        columns: columnsOf(options),
        ...(peers === false ? { peers: [] } : Array.isArray(peers) ? { peers } : {}),
        energy: options.energy ?? false,
        tune: options.tune ?? false,
      },
      {
        start: (total) => bar.start(total),
        step: (problem) => bar.step(done++, problem),
        finished: (rows) => bar.print(rowsTable(rows)),
      },
    );
  });
}

/** The columns asked for; by default warm, with --full all. */
function columnsOf(options: BenchOptions): readonly Column[] {
  const asked = columns.filter((column) => options[column]);
  return asked.length > 0 ? asked : options.full ? columns : ['warm'];
}

async function runHunt(operations: readonly string[], options: BenchOptions): Promise<Report> {
  const device = await openNamed(options.device);
  const { hunt: count = 0, seed, dtype: dtypes } = options;
  return withBar(device, async (bar) => {
    bar.start(count);
    let slower = 0;
    const rows = await hunt(
      device,
      { count, seed, operations, dtypes },
      {
        step: (done, problem) => bar.step(done, problem),
        found(row) {
          if (row.pass) ++slower;
          bar.print(rowsTable([row]));
        },
      },
    );
    bar.print(
      `${slower} of ${count} random problems are slower than cuSPARSE by more than 5 % (--seed ${seed}).`,
    );
    return makeReport(device, {}, rows);
  });
}

async function withBar(device: Device, body: (bar: ProgressBar) => Promise<Report>): Promise<Report> {
  const bar = new ProgressBar();
  try {
    return await body(bar);
  } finally {
    bar.stop();
    device.dispose();
  }
}

function roofLine({ ceilings: { copyGbps = 0, readGbps = 0, tflops = {} } }: Report): string {
  const rates = Object.entries(tflops).map(([dtype, rate]) => `${rate.toFixed(0)} TFLOP/s in ${dtype}`);
  const gemm = rates.length === 0 ? 'cuBLAS not found' : `cuBLAS reaches ${rates.join(', ')}`;
  return (
    `roof: compulsory bytes at the faster of copying (${copyGbps.toFixed(0)} GB/s) and reading (${readGbps.toFixed(0)} GB/s), ` +
    `or operations at the rate of a dense product, whichever takes longer; ${gemm}.`
  );
}

function printComparison({ compared, slower, faster }: Comparison): number {
  for (const [word, changes] of [
    ['slower', slower],
    ['faster', faster],
  ] as const) {
    for (const { op, problem, dtype, column, before, now, noise } of changes) {
      const time = column === 'us' ? '' : ` ${column}`;
      const change = `${before.toFixed(2)} -> ${now.toFixed(2)} us, noise ${(100 * noise).toFixed(0)} %`;
      console.log(`${word}: ${op} ${problem} ${dtype}${time}: ${change}`);
    }
  }
  console.log(`${slower.length} of ${compared} times slower than the baseline, ${faster.length} faster.`);
  return slower.length;
}
