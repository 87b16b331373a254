import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { probeCuda } from '../lib/backends/cuda.js';
import { packageRoot } from '../lib/backends/load-addon.cjs';
import { openDevice } from '../lib/index.js';

// The addon where there may be no GPU and no driver: it loads, and says why there is no device.
describe('the native addon', () => {
  const built = existsSync(path.join(packageRoot(), 'build', 'Release', 'warptile.node'));
  const { addonFile, devices, problems } = probeCuda();

  (built ? test : test.skip)(`loads${built ? '' : ' (skipped: it is not built)'}`, () => {
    expect(addonFile).toMatch(/warptile\.node$/);
  });

  const absent = built && devices.length === 0;
  const reason = built ? 'there is a GPU' : 'it is not built';
  (absent ? test : test.skip)(
    `says why there is no GPU${absent ? '' : ` (skipped: ${reason})`}`,
    async () => {
      expect(problems.at(-1)).toMatch(/^CUDA: .*(driver|no GPU|device)/);
      await expect(openDevice('cuda:0')).rejects.toMatchObject({
        code: 'ERR_BACKEND_UNAVAILABLE',
        message: expect.stringContaining(problems.at(-1) as string),
      });
      const device = await openDevice('auto');
      expect(device.kind).toBe('cpu');
      expect(device.fallbackReasons).toEqual(expect.arrayContaining([...problems]));
      device.dispose();
    },
  );

  test.each([
    ['none', /WARPTILE_ADDON=none: the addon is switched off/],
    ['/nowhere/warptile.node', /\/nowhere\/warptile\.node: no such file/],
    [__filename, /addon\.test\.ts: /],
  ])('WARPTILE_ADDON=%s leaves the CPU, with the reason', (file, reason) => {
    const library = path.join(packageRoot(), 'dist', 'cjs', 'lib', 'index.js');
    const source = `require(${JSON.stringify(library)}).openDevice().then((device) =>
      console.log(device.kind, device.fallbackReasons.join('; ')))`;
    const env = { ...process.env, WARPTILE_ADDON: file };
    const output = execFileSync(process.execPath, ['-e', source], { env, encoding: 'utf8' });
    expect(output).toMatch(/^cpu /);
    expect(output).toMatch(reason);
  });
});
