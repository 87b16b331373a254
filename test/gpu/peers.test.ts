import type { AbsentPeer, PreparedPeer } from '../../lib/backends/backend.js';
import { probePeers } from '../../lib/backends/cuda.js';
import { type CsrMatrix, type Device, openDevice, sddmm, spmm, type Tensor } from '../../lib/index.js';
import { sddmmCall } from '../../lib/ops/sddmm.js';
import { spmmCall } from '../../lib/ops/spmm.js';
import { Random } from '../harness/random.js';
import { cudaBackend } from './support.js';

const library = probePeers().find(({ name }) => name === 'cuSPARSE');
// Said, not hidden: without the library only what happens in its absence can be tested.
const withLibrary = library?.file === undefined ? test.skip : test;
if (library?.file === undefined) console.warn(`cuSPARSE is not compared: ${library?.problem ?? 'no addon'}`);

const cublas = probePeers().find(({ name }) => name === 'cuBLAS');
const withCublas = cublas?.file === undefined ? test.skip : test;
if (cublas?.file === undefined) console.warn(`cuBLAS is not compared: ${cublas?.problem ?? 'no addon'}`);

const [m, k, n] = [130, 96, 40];

describe('cuSPARSE', () => {
  let device: Device;
  let a: CsrMatrix<'float32'>;
  let b: Tensor<'float32'>;
  const random = new Random('peers');
  const integers = (rows: number, columns: number): Tensor<'float32'> => {
    const data = Float32Array.from({ length: rows * columns }, () => random.integer(-4, 4));
    return device.tensor(data, { shape: [rows, columns] });
  };

  beforeAll(async () => {
    device = await openDevice('cuda:0');
    const rowPointers = [0];
    const columnIndices: number[] = [];
    for (let row = 0; row < m; ++row) {
      for (let column = 0; column < k; ++column) if (random.unit() < 0.2) columnIndices.push(column);
      rowPointers.push(columnIndices.length);
    }
    const values = columnIndices.map(() => random.integer(-4, 4));
    a = device.csr({ shape: [m, k], rowPointers, columnIndices, values });
    b = integers(k, n);
  });
  afterAll(() => device.dispose());

  function prepared(peers: readonly (PreparedPeer | AbsentPeer)[], name: string): PreparedPeer {
    const peer = peers.find((candidate) => candidate.name === name);
    if (peer === undefined || 'problem' in peer)
      throw new Error(`${name}: ${peer?.problem ?? 'no such peer'}`);
    return peer;
  }

  withLibrary(
    'gives the product that spmm gives, by every CSR algorithm, eagerly and from a graph',
    async () => {
      const expected = await spmm(a, b).data();
      const out = device.zeros([m, n]);
      const peers = device.backend.preparePeers('spmm', spmmCall(a, b, out, 1, 0));
      for (const algorithm of ['default', 'CSR_ALG1', 'CSR_ALG2', 'CSR_ALG3']) {
        const peer = prepared(peers, `cusparse ${algorithm}`);
        out.copyFrom(device.zeros([m, n]));
        peer.run();
        expect(await out.data()).toEqual(expected);
        const graph = device.capture(() => peer.run());
        out.copyFrom(device.zeros([m, n]));
        graph.replay();
        expect(await out.data()).toEqual(expected);
        graph.dispose();
        peer.dispose();
        expect(() => peer.run()).toThrow('disposed');
      }
      expect(peers.find(({ name }) => name === 'cusparse BSR_ALG1')).toHaveProperty('problem');
    },
  );

  withLibrary('gives the product that sddmm gives', async () => {
    const [left, right] = [integers(m, n), integers(k, n)];
    const expected = await sddmm(a, left, right).values.data();
    const out = a.withValues(device.zeros([a.nnz]));
    const peer = prepared(
      device.backend.preparePeers('sddmm', sddmmCall(left, right, out, 1, undefined)),
      'cusparse',
    );
    peer.run();
    expect(await out.values.data()).toEqual(expected);
    peer.dispose();
  });

  withCublas('cuBLAS gives the product of the densified matrix', async () => {
    const expected = await spmm(a, b).data();
    const out = device.zeros([m, n]);
    const peers = device.backend.preparePeers('spmm', spmmCall(a, b, out, 1, 0));
    const peer = prepared(peers, 'cublas dense');
    const graph = device.capture(() => peer.run());
    graph.replay();
    expect(await out.data()).toEqual(expected);
    graph.dispose();
    for (const one of peers) if (!('problem' in one)) one.dispose();
  });

  test('reading leaves memory as it is', async () => {
    const backend = cudaBackend(device);
    const [source, sink] = [integers(300, 64), device.zeros([1])];
    const before = await source.data();
    backend.read(source.view.buffer, source.byteLength, sink.view.buffer);
    expect(await source.data()).toEqual(before);
    expect(() => backend.read(source.view.buffer, 8, sink.view.buffer)).toThrow('multiple of 16');
    expect(() => backend.read(source.view.buffer, 2 * source.byteLength, sink.view.buffer)).toThrow('source');
  });

  test('a batch is said not to be compared', () => {
    const out = device.zeros([2, m, n]);
    const batch = device.zeros([2, k, n]);
    for (const peer of device.backend.preparePeers('spmm', spmmCall(a, batch, out, 1, 0))) {
      expect(peer).toHaveProperty('problem');
    }
  });

  test('operations without peers have none', () => {
    const out = a.withValues(device.zeros([a.nnz]));
    const call = {
      dtype: 'float32' as const,
      pattern: a.pattern,
      batch: 1,
      values: a.values.view,
      out: out.values.view,
      scale: 1,
    };
    expect(device.backend.preparePeers('sparseSoftmax', call)).toEqual([]);
  });
});
