import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command } from 'commander';
import { packageVersion } from '../../bench/report.js';
import { type CudaProbe, probeCuda, probePeers } from '../backends/cuda.js';
import { packageRoot } from '../backends/load-addon.cjs';
import { openDevice } from '../device/open.js';

/** One thing that was looked at. */
interface Finding {
  readonly state: 'ok' | 'missing' | 'note';
  readonly text: string;
  /** How to mend it. */
  readonly remedy?: string;
}

const marks = { ok: '+', missing: 'x', note: '-' } as const;

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('say what was found on this machine, what was tried, why it did not work and how to mend it')
    .action(doctor);
}

async function doctor(): Promise<void> {
  const probe = probeCuda();
  print('Runtime', runtime());
  print('Native addon', addon(probe));
  print('GPU', await gpus(probe));
  print('Building the addon here', await toolchain());
  print('Peers of the benchmark (optional)', peers());
  const device = await openDevice('auto');
  console.log(
    device.kind === 'cuda'
      ? `\nwarptile works on ${device.id} (${device.info.name}). \`warptile check\` validates every operation on it.`
      : '\nwarptile works on the CPU: correct, and slow. The lines marked x say what a GPU needs.',
  );
  device.dispose();
}

function print(title: string, findings: readonly Finding[]): void {
  console.log(`\n${title}`);
  for (const { state, text, remedy } of findings) {
    console.log(`  ${marks[state]} ${text}`);
    if (remedy !== undefined) console.log(`      ${remedy}`);
  }
}

function runtime(): Finding[] {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const recent = major > 20 || (major === 20 && minor >= 19);
  return [
    { state: 'ok', text: `warptile ${packageVersion()} in ${packageRoot()}` },
    recent
      ? { state: 'ok', text: `Node ${process.versions.node}` }
      : { state: 'missing', text: `Node ${process.versions.node}`, remedy: 'Install Node 20.19 or later.' },
    process.platform === 'linux' && process.arch === 'x64'
      ? { state: 'ok', text: 'linux-x64' }
      : {
          state: 'missing',
          text: `${process.platform}-${process.arch}`,
          remedy: 'The CUDA kernels run on linux-x64; everything else works on the CPU here.',
        },
  ];
}

function addon({ addonFile, problems }: CudaProbe): Finding[] {
  const tried = problems.filter((problem) => problem.startsWith('addon '));
  if (addonFile !== undefined) {
    return [
      { state: 'ok', text: addonFile },
      ...tried.map((problem) => ({ state: 'note' as const, text: `tried before: ${problem}` })),
    ];
  }
  return tried.map((problem) => ({ state: 'missing', text: problem, remedy: addonRemedy(problem) }));
}

function addonRemedy(problem: string): string {
  if (problem.includes('switched off')) return 'Unset WARPTILE_ADDON.';
  if (process.env.WARPTILE_ADDON) return 'WARPTILE_ADDON names this file: correct it, or unset it.';
  if (problem.includes('no such file')) {
    return isCheckout()
      ? 'Build it: npm run build (needs nvcc, CMake and a C++ compiler; see below).'
      : 'This copy of the package has no addon for this platform: install it again, on linux-x64.';
  }
  if (/GLIBC/.test(problem))
    return 'The addon needs a newer C or C++ library: build it on this system, or use a newer one.';
  return 'The file is damaged or of another platform: build it again (npm run build), or install the package again.';
}

async function gpus({ addonFile, devices, driver, runtime: cuda, problems }: CudaProbe): Promise<Finding[]> {
  const findings: Finding[] = [nvidiaDriver()];
  if (addonFile === undefined) {
    findings.push({ state: 'note', text: 'CUDA was not asked: that needs the native addon' });
  }
  for (const problem of problems.filter((item) => !item.startsWith('addon '))) {
    findings.push({ state: 'missing', text: problem, remedy: gpuRemedy(problem) });
  }
  if (driver !== undefined)
    findings.push({ state: 'ok', text: `driver CUDA ${driver}, addon built with CUDA ${cuda}` });
  for (const [ordinal, { name, major, minor, totalMemoryBytes }] of devices.entries()) {
    const gib = (totalMemoryBytes / 2 ** 30).toFixed(1);
    const text = `cuda:${ordinal}: ${name}, compute capability ${major}.${minor}, ${gib} GiB`;
    if (major < 8)
      findings.push({ state: 'missing', text, remedy: 'The kernels need compute capability 8.0 or later.' });
    else findings.push(await tryDevice(ordinal, text));
  }
  return findings;
}

/** Whether memory can be written and read back on a GPU. */
async function tryDevice(ordinal: number, text: string): Promise<Finding> {
  try {
    const device = await openDevice(`cuda:${ordinal}`);
    const tensor = device.tensor([1, 2, 3]);
    const values = await tensor.data();
    device.dispose();
    if (values.join() === '1,2,3') return { state: 'ok', text: `${text}: works` };
    return {
      state: 'missing',
      text: `${text}: read back ${values.join()} instead of 1,2,3`,
      remedy: 'Check the card: nvidia-smi -q.',
    };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return {
      state: 'missing',
      text: `${text}: ${reason}`,
      remedy: 'See nvidia-smi: is the card free and healthy?',
    };
  }
}

function gpuRemedy(problem: string): string {
  if (/no GPU|NoDevice/i.test(problem)) {
    return 'Is there an NVIDIA GPU (nvidia-smi)? In a container: docker run --gpus all. Is CUDA_VISIBLE_DEVICES empty?';
  }
  if (/driver/i.test(problem)) {
    return "Install NVIDIA's driver, as new as the CUDA version that the addon was built with, and restart.";
  }
  return 'See nvidia-smi: is the driver loaded and the card healthy?';
}

function nvidiaDriver(): Finding {
  const file = '/proc/driver/nvidia/version';
  const version = existsSync(file)
    ? /Kernel Module\D*([\d.]+)/.exec(readFileSync(file, 'utf8'))?.[1]
    : undefined;
  if (version !== undefined) return { state: 'ok', text: `NVIDIA kernel driver ${version}` };
  return {
    state: 'missing',
    text: 'no NVIDIA kernel driver is loaded',
    remedy:
      'On a machine with an NVIDIA GPU: install the driver of your distribution, then check with nvidia-smi.',
  };
}

function isCheckout(): boolean {
  return existsSync(path.join(packageRoot(), 'scripts', 'toolchain.mjs'));
}

async function toolchain(): Promise<Finding[]> {
  if (!isCheckout())
    return [{ state: 'note', text: 'this is an installed package: it comes with the addon' }];
  const file = pathToFileURL(path.join(packageRoot(), 'scripts', 'toolchain.mjs')).href;
  const { nativeToolchain } = (await import(file)) as {
    nativeToolchain(root: string): Readonly<Record<'nvcc' | 'cmake' | 'compiler', string | undefined>> & {
      readonly problems: readonly string[];
    };
  };
  const { nvcc, cmake, compiler, problems } = nativeToolchain(packageRoot());
  const found = Object.entries({ nvcc, cmake, 'C++ compiler': compiler });
  return [
    ...found.flatMap(([name, tool]): Finding[] => (tool ? [{ state: 'ok', text: `${name}: ${tool}` }] : [])),
    ...problems.map((problem): Finding => ({ state: 'missing', text: problem })),
  ];
}

function peers(): Finding[] {
  const libraries = probePeers().map(({ name, file, problem }): Finding => {
    if (file !== undefined) return { state: 'ok', text: `${name}: ${file}` };
    return {
      state: 'note',
      text: `${name}: ${problem}; ${name === 'NVML' ? 'energy is not measured' : 'its times are left out'} (WARPTILE_CUDA_PATH names its folder)`,
    };
  });
  return [...libraries, python()];
}

function python(): Finding {
  const script = 'import torch; print(torch.__version__, torch.version.cuda, torch.cuda.is_available())';
  const { status, stdout, stderr, error } = spawnSync('python3', ['-c', script], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  if (error) return { state: 'note', text: `python3: ${error.message}; PyTorch's times are left out` };
  if (status !== 0) {
    const reason = stderr.trim().split('\n').at(-1) ?? `exit code ${status}`;
    return { state: 'note', text: `PyTorch: ${reason}; its times are left out` };
  }
  const [version, cuda, available] = stdout.trim().split(' ');
  return {
    state: 'ok',
    text: `PyTorch ${version}, CUDA ${cuda}, GPU ${available === 'True' ? 'usable' : 'not usable'}`,
  };
}
