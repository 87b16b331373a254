import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { transformSync } from '@swc/core';
import { packageRoot } from '../lib/backends/load-addon.cjs';

// Every example of the README and the manual that is a whole program, one that imports what it uses, runs as it stands.
const root = packageRoot();
const pages = [
  'README.md',
  ...readdirSync(path.join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];
const programs = pages.flatMap((page) => {
  const text = readFileSync(path.join(root, page), 'utf8');
  const blocks = [...text.matchAll(/^```(?:ts|js)\n([\s\S]*?)^```/gm)].map(([, code]) => code);
  return blocks.filter((code) => code.startsWith('import ')).map((code, index) => ({ page, index, code }));
});

describe('the manual', () => {
  test.each(programs)('$page, program $index', ({ code }) => {
    // `using` needs Node 24; the transform makes it run from Node 20 on.
    const options = { parser: { syntax: 'typescript' }, target: 'es2022' } as const;
    const source = transformSync(code, { jsc: options, module: { type: 'es6' } }).code;
    const args = ['--input-type=module', '-e', source];
    const { status, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });

  test.each(pages)('%s links to pages that exist', (page) => {
    const text = readFileSync(path.join(root, page), 'utf8');
    for (const [, target] of text.matchAll(/\]\((?![a-z]+:|#)([^)#]+)/g)) {
      expect(existsSync(path.join(root, path.dirname(page), target)) || `missing: ${target}`).toBe(true);
    }
  });

  test('the README has a program', () => {
    expect(programs.filter(({ page }) => page === 'README.md').length).toBeGreaterThan(0);
  });
});
