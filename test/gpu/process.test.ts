import { once } from 'node:events';
import { type ChildResult, runChild, startWorker } from './support.js';

// How processes and threads end: each body runs in plain Node, on the built package.
describe('processes and threads', () => {
  function expectCleanExit({ status, stderr }: ChildResult): void {
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  }

  test('live handles do not hold up the exit', async () => {
    const result = await runChild(`
      globalThis.device = await openDevice('cuda:0');
      globalThis.kept = [ones(device, 1 << 20), device.zeros([10]), device.capture(() => device.zeros([4]))];
      await device.synchronize();`);
    expectCleanExit(result);
  });

  test('a pending read-back keeps the process until it is delivered', async () => {
    const result = await runChild(`
      const device = await openDevice('cuda:0');
      const tensor = ones(device, 1 << 20);
      spin(device, 300);
      tensor.data().then((data) => console.log(data.length));`);
    expectCleanExit(result);
    expect(result.stdout).toBe(`${1 << 20}\n`);
  });

  test('process.exit with work, read-backs and a recording pending', async () => {
    const result = await runChild(`
      const device = await openDevice('cuda:0');
      const tensor = ones(device, 1 << 20);
      spin(device, 300);
      tensor.data();
      device.synchronize();
      device.capture(() => { tensor.clone(); process.exit(0); });`);
    expectCleanExit(result);
  });

  test('an uncaught exception is that, not a crash', async () => {
    const result = await runChild(`
      const device = await openDevice('cuda:0');
      ones(device, 1000).data();
      throw new Error('on purpose');`);
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(/on purpose/);
  });

  test('a device closed and reopened many times leaks nothing', async () => {
    const result = await runChild(`
      let reserved = [];
      for (let i = 0; i < 20; ++i) {
        const device = await openDevice('cuda:0');
        const tensor = ones(device, 1 << 20);
        if ((await tensor.data())[5] !== 1) throw new Error('wrong data');
        reserved.push(device.memory().reserved);
        device.dispose();
      }
      console.log(new Set(reserved).size);`);
    expectCleanExit(result);
    expect(result.stdout).toBe('1\n');
  });

  test('a fault is reported once it is known, and from then on', async () => {
    const result = await runChild(`
      const device = await openDevice('cuda:0');
      const tensor = ones(device, 1000);
      await device.synchronize();
      device.backend.runRow('diagnosticTrap', new Float64Array(0));
      const codes = [];
      const note = async (body) => {
        try { await body(); codes.push('none'); }
        catch (error) { codes.push(error instanceof WarptileError ? error.code : String(error)); }
      };
      await note(() => tensor.data());
      await note(() => device.synchronize());
      await note(() => device.tensor([1, 2]));
      await note(() => device.empty([1]));
      await note(() => tensor.clone());
      await note(() => tensor.dataSync());
      await note(() => device.capture(() => tensor.clone()));
      await note(() => device.time(() => tensor.clone()));
      await note(() => device.memory());
      tensor.dispose();
      device.dispose();
      const again = [];
      try { await openDevice('cuda:0'); again.push('none'); }
      catch (error) { again.push(error instanceof WarptileError, error.code); }
      console.log(JSON.stringify({ codes, again }));`);
    expectCleanExit(result);
    const { codes, again } = JSON.parse(result.stdout);
    expect(new Set(codes)).toEqual(new Set(['ERR_DEVICE_LOST']));
    expect(again[0]).toBe(true);
    expect(['ERR_DEVICE_LOST', 'ERR_BACKEND_UNAVAILABLE']).toContain(again[1]);
  });

  test('worker threads each open their own device', async () => {
    const result = await runChild(`
      const device = await openDevice('cuda:0');
      const mine = ones(device, 1000);
      const workers = [1, 2, 3, 4].map((value) => startWorker(\`
        const device = await openDevice('cuda:0');
        const tensor = device.tensor(new Float32Array(1000).fill(workerData));
        const data = await tensor.clone().data();
        parentPort.postMessage(data.reduce((total, value) => total + value, 0));\`, value));
      const sums = await Promise.all(workers.map((worker) => new Promise((resolve, reject) => {
        worker.on('message', resolve);
        worker.on('error', reject);
      })));
      console.log(JSON.stringify([sums, (await mine.data())[999]]));`);
    expectCleanExit(result);
    expect(JSON.parse(result.stdout)).toEqual([[1000, 2000, 3000, 4000], 1]);
  });

  test('a worker that is terminated takes only its own device along', async () => {
    const worker = startWorker(`
      const device = await openDevice('cuda:0');
      const tensor = ones(device, 1 << 20);
      globalThis.kept = [tensor, device.zeros([100])];
      spin(device, 300);
      for (let i = 0; i < 4; ++i) tensor.data();
      device.synchronize();
      parentPort.postMessage('busy');`);
    await once(worker, 'message');
    await worker.terminate();
    const next = startWorker(`
      const device = await openDevice('cuda:0');
      parentPort.postMessage((await ones(device, 10).data())[9]);`);
    const [value] = await once(next, 'message');
    expect(value).toBe(1);
    await once(next, 'exit');
  });

  test('terminated workers leave a process that exits cleanly', async () => {
    const result = await runChild(`
      const device = await openDevice('cuda:0');
      for (let i = 0; i < 5; ++i) {
        const worker = startWorker(\`
          const tensor = ones(await openDevice('cuda:0'), 1000);
          spin(tensor.device, 200);
          for (let i = 0; i < 4; ++i) tensor.data();
          parentPort.postMessage('busy');\`);
        await new Promise((resolve) => worker.on('message', resolve));
        await worker.terminate();
      }
      console.log((await ones(device, 10).data())[9]);`);
    expectCleanExit(result);
    expect(result.stdout).toBe('1\n');
  });
});
