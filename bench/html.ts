// A report as one HTML file that needs nothing else: bench/html/page.* around the data, with Chart.js inlined.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { packageRoot } from '../lib/backends/load-addon.cjs';
import { losses, summaries } from './goals.js';
import type { Report } from './report.js';

export function htmlReport(report: Report): string {
  const folder = path.join(packageRoot(), 'bench', 'html');
  const part = (name: string): string => readFileSync(path.join(folder, name), 'utf8');
  const { rows } = report;
  const data = JSON.stringify({ report, summaries: summaries(rows), losses: losses(rows) });
  const parts: { readonly [mark: string]: string } = {
    STYLE: part('page.css'),
    // Nothing in the data may end the element that it stands in.
    REPORT: data.replaceAll('<', '\\u003c'),
    CHART: inScript(chartLibrary()),
    SCRIPT: inScript(part('page.js')),
  };
  // Marks that leave the page a valid one: a comment, and a string where JSON stands.
  return part('page.html').replace(
    /\/\*(\w+)\*\/|"(REPORT)"/g,
    (_, mark: string, json: string) => parts[mark ?? json],
  );
}

/** The build for pages, beside the one that Node would load. */
function chartLibrary(): string {
  const main = createRequire(path.join(packageRoot(), 'package.json')).resolve('chart.js');
  return readFileSync(path.join(path.dirname(main), 'chart.umd.min.js'), 'utf8').replace(
    /^\/\/# sourceMappingURL=.*$/m,
    '',
  );
}

function inScript(source: string): string {
  return source.replaceAll('</script', '<\\/script');
}
