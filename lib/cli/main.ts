#!/usr/bin/env node
import { Command } from 'commander';
import { packageVersion } from '../../bench/report.js';
import { benchCommand } from './bench.js';
import { checkCommand } from './check.js';
import { doctorCommand } from './doctor.js';

const program = new Command('warptile')
  .description('Hand-written CUDA kernels for sparse, structured and quantised linear algebra and attention.')
  .version(packageVersion())
  .showHelpAfterError('(warptile --help lists the commands and options)')
  .addCommand(doctorCommand())
  .addCommand(checkCommand())
  .addCommand(benchCommand());

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = 1;
  if (process.env.DEBUG) console.error(error);
  else console.error(`warptile: ${error instanceof Error ? error.message.split('\n').join('; ') : error}`);
}
