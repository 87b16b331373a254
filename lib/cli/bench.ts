import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { bundledData, loadMatrices } from '../../bench/matrices.js';
import { peerProblems, type Report, rowsTable } from '../../bench/report.js';
import { operationNames, runBenchmark } from '../../bench/run.js';
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
  readonly peers: boolean;
  readonly json?: string;
}

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
    .option('--no-peers', 'leave the vendor libraries out')
    .addOption(jsonOption())
    .action(bench);
}

async function bench(operations: readonly string[], options: BenchOptions): Promise<void> {
  for (const name of operations) {
    if (!operationNames.includes(name)) {
      fail('ERR_ARGUMENT', 'operation', `one of ${operationNames.join(', ')}`, name);
    }
  }
  const matrices = await loadMatrices(options.data);
  const device = await openNamed(options.device);
  console.log(`${matrices.length} sparse matrices from ${options.data}`);
  const bar = new ProgressBar();
  const start = performance.now();
  let report: Report;
  let done = 0;
  try {
    report = await runBenchmark(
      device,
      {
        matrices,
        operations,
        dtypes: options.dtype,
        sizes: options.n ?? [],
        ...(options.filter === undefined ? {} : { filter: options.filter }),
        quick: options.quick ?? false,
        peers: options.peers,
      },
      {
        start: (total) => bar.start(total),
        step: (problem) => bar.step(done++, problem),
        finished: (rows) => bar.print(rowsTable(rows)),
      },
    );
  } finally {
    bar.stop();
    device.dispose();
  }
  const { rows, ceilings } = report;
  if (rows.length === 0) throw new WarptileError('ERR_ARGUMENT', 'no problem matches the options');
  if (ceilings.copyGbps !== undefined) {
    const gbps = ceilings.copyGbps.toFixed(0);
    console.log(`roof: compulsory bytes at the ${gbps} GB/s that a device copy reaches here.`);
  }
  for (const line of peerProblems(rows)) console.log(`left out: ${line}`);
  const failed = rows.filter((row) => !row.pass);
  for (const { op, problem, dtype, note } of failed) console.log(`FAIL ${op} ${problem} ${dtype}: ${note}`);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(
    failed.length === 0
      ? `All ${rows.length} problems pass their check (${seconds} s).`
      : `${failed.length} of ${rows.length} problems fail their check (${seconds} s).`,
  );
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
  if (failed.length > 0) process.exitCode = 1;
}
