// The report's page: filters, two charts, three tables. Plain script of a page without a network; Chart.js stands before it.
(() => {
  const { report, summaries, losses } = JSON.parse(document.getElementById('report').textContent);
  const { rows, ceilings } = report;
  const element = (id) => document.getElementById(id);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const distinct = (values) => [...new Set(values)];
  const columns = ['warm', 'cold', 'eager'];
  const filters = ['operation', 'dtype', 'column', 'library', 'text'].map(element);
  const [operation, dtype, column, library, text] = filters;

  /** Our time and the library's in the column chosen; undefined where one was not measured. */
  function timesOf(row) {
    if ((row.column ?? 'warm') === column.value) return { us: row.us, peer: row.peers[library.value] };
    const extra = row.columns?.[column.value];
    return { us: extra?.us, peer: extra?.peers[library.value] };
  }

  function ratioOf(row) {
    const { us, peer } = timesOf(row);
    return us && peer ? peer / us : undefined;
  }

  function matches(row) {
    return (
      (operation.value === 'all' || row.op === operation.value) &&
      (dtype.value === 'all' || row.dtype === dtype.value) &&
      row.problem.toLowerCase().includes(text.value.toLowerCase())
    );
  }

  function fill(select, values, all) {
    const options = [...(all ? ['all'] : []), ...values];
    select.replaceChildren(...options.map((value) => new Option(value, value)));
  }

  const number = (value, digits = 3) =>
    value === undefined || value === null ? '–' : Number(value).toPrecision(digits);
  const time = (us) => (us === undefined || us === null ? '–' : us < 100 ? us.toFixed(2) : us.toFixed(0));
  const ratio = (value) => (value === undefined || value === null ? '–' : `${value.toFixed(2)}x`);
  const percent = (value) => (value === undefined || value === null ? '–' : `${number(100 * value)} %`);

  /** A table whose heads sort it. Cells: { head, value(item), text?(value), tone?(value, item) }. */
  function table(target, cells, items, state) {
    const sorted = [...items];
    if (state.by !== undefined) {
      const { value } = cells[state.by];
      sorted.sort((a, b) => {
        const [x, y] = [value(a) ?? Number.NEGATIVE_INFINITY, value(b) ?? Number.NEGATIVE_INFINITY];
        return (x < y ? -1 : x > y ? 1 : 0) * state.direction;
      });
    }
    const head = document.createElement('tr');
    cells.forEach((cell, index) => {
      const th = document.createElement('th');
      if (cell.text) th.className = 'number';
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = cell.head + (state.by === index ? (state.direction > 0 ? ' ↑' : ' ↓') : '');
      button.addEventListener('click', () => {
        state.direction = state.by === index ? -state.direction : 1;
        state.by = index;
        table(target, cells, items, state);
      });
      th.append(button);
      head.append(th);
    });
    const lines = sorted.map((item) => {
      const tr = document.createElement('tr');
      for (const { value, text: show, tone } of cells) {
        const td = document.createElement('td');
        const content = value(item);
        td.textContent = show ? show(content, item) : (content ?? '–');
        td.className = [show ? 'number' : '', tone?.(content, item) ?? ''].join(' ').trim();
        tr.append(td);
      }
      return tr;
    });
    const [thead, tbody] = ['thead', 'tbody'].map((name) => document.createElement(name));
    thead.append(head);
    tbody.append(...lines);
    target.replaceChildren(thead, tbody);
  }

  function figures(shown) {
    const ratios = shown.map(ratioOf).filter((value) => value !== undefined);
    const mean = Math.exp(ratios.reduce((sum, value) => sum + Math.log(value), 0) / ratios.length);
    const list = [
      [ratios.length ? ratio(mean) : '–', `geometric mean over ${library.value || 'no library'}`],
      [ratios.length ? ratio(Math.min(...ratios)) : '–', 'worst'],
      [ratios.length ? ratio(Math.max(...ratios)) : '–', 'best'],
      [`${ratios.filter((value) => value < 1).length} of ${ratios.length}`, 'losses'],
      [`${shown.filter((row) => row.pass).length} of ${shown.length}`, 'within their error bound'],
    ];
    element('figures').replaceChildren(
      ...list.map(([value, label]) => {
        const box = document.createElement('div');
        box.className = 'figure';
        const [b, span] = [document.createElement('b'), document.createElement('span')];
        b.textContent = value;
        span.textContent = label;
        box.append(b, span);
        return box;
      }),
    );
  }

  const charts = {};

  function draw(id, datasets, scales, tooltip, empty) {
    charts[id]?.destroy();
    delete charts[id];
    const canvas = element(id);
    const note = canvas.parentElement.querySelector('.empty');
    note.hidden = datasets !== undefined;
    canvas.hidden = datasets === undefined;
    if (datasets === undefined) {
      note.textContent = empty;
      return;
    }
    const axis = ({ title, ...rest }) => ({
      type: 'logarithmic',
      title: { display: true, text: title, color: style('--muted') },
      grid: { color: style('--line') },
      border: { color: style('--muted') },
      ...rest,
      ticks: { color: style('--muted'), maxTicksLimit: 8, autoSkip: true, ...rest.ticks },
    });
    charts[id] = new Chart(canvas, {
      type: 'scatter',
      data: { datasets },
      options: {
        animation: false,
        maintainAspectRatio: false,
        scales: { x: axis(scales.x), y: axis(scales.y) },
        plugins: {
          legend: {
            position: 'bottom',
            labels: { color: style('--ink'), usePointStyle: true, boxHeight: 7 },
          },
          tooltip: {
            filter: (item) => item.raw.row !== undefined,
            callbacks: {
              title: ([item]) => item?.raw.row.problem ?? '',
              label: (item) => tooltip(item.raw, item.dataset),
            },
          },
        },
      },
    });
  }

  const line = (label, data, dash) => ({
    label,
    data,
    type: 'line',
    showLine: true,
    pointRadius: 0,
    pointStyle: 'line',
    borderColor: style('--muted'),
    borderWidth: 1.5,
    borderDash: dash,
    order: 2,
  });

  function marks(label, data, color, hollow) {
    return {
      label,
      data,
      backgroundColor: hollow ? 'transparent' : color,
      borderColor: hollow ? color : style('--card'),
      borderWidth: hollow ? 1.5 : 1,
      pointRadius: 5,
      pointHoverRadius: 7,
      order: 1,
    };
  }

  /** Each size by itself, or where there are more than colours, ranges of them. */
  function sizeRanges(sizes) {
    if (sizes.length <= 7) return sizes.map((n) => [n, n]);
    const ends = [1, 8, 32, 64, 128, 256, Number.POSITIVE_INFINITY];
    const ranges = ends.map((end, index) => sizes.filter((n) => n <= end && n > (ends[index - 1] ?? 0)));
    return ranges.filter(({ length }) => length > 0).map((range) => [range[0], range.at(-1)]);
  }

  function drawSpeedup(shown) {
    const points = shown.flatMap((row) => {
      const y = ratioOf(row);
      return y === undefined || !row.density ? [] : [{ x: 100 * row.density, y, row }];
    });
    const sizes = sizeRanges(distinct(points.map(({ row }) => row.n)).sort((a, b) => a - b));
    // Seven steps of one hue, spread over the sizes there are.
    const step = (index) => (sizes.length === 1 ? 3 : Math.round((6 * index) / (sizes.length - 1)));
    const [least, most] = [Math.min(...points.map(({ x }) => x)), Math.max(...points.map(({ x }) => x))];
    const datasets = sizes.map(([low, high], index) => {
      const inside = points.filter(({ row }) => row.n >= low && row.n <= high);
      return marks(
        low === high ? `N = ${low}` : `N = ${low}–${high}`,
        inside,
        style(`--ramp-${step(index)}`),
      );
    });
    const even = [
      { x: least / 1.3, y: 1 },
      { x: most * 1.3, y: 1 },
    ];
    // Over many decades only their starts have room.
    const wide = most > 100 * least;
    const share = (value) =>
      wide && !Number.isInteger(Number(Math.log10(value).toFixed(6)))
        ? ''
        : `${Number(value.toPrecision(3))} %`;
    draw(
      'speedup',
      points.length === 0 ? undefined : [...datasets, line('as fast', even, [5, 4])],
      {
        x: {
          title: 'stored elements, % of the matrix',
          ticks: { callback: share },
        },
        y: {
          title: `${library.value}'s time over ours`,
          ticks: { callback: (value) => `${Number(value.toPrecision(3))}x` },
        },
      },
      ({ row, y }) => `${row.op} ${row.dtype} N = ${row.n}: ${ratio(y)} (${row.variant})`,
      'No library was compared on sparse problems.',
    );
  }

  function drawRoofline(shown) {
    const point = (row, us) => ({ x: row.flops / row.bytes, y: row.flops / us / 1000, row, us });
    const usable = shown.filter((row) => row.bytes > 0 && row.flops > 0 && timesOf(row).us);
    const ours = usable.map((row) => point(row, timesOf(row).us));
    const theirs = usable.filter((row) => timesOf(row).peer).map((row) => point(row, timesOf(row).peer));
    const datasets = [marks('warptile', ours, style('--ours'))];
    if (theirs.length > 0) datasets.push(marks(library.value, theirs, style('--peer'), true));
    const rate = Math.max(ceilings.copyGbps ?? 0, ceilings.readGbps ?? 0);
    if (rate > 0 && ours.length > 0) {
      const xs = ours.map(({ x }) => x);
      const [low, high] = [Math.min(...xs) / 1.5, Math.max(...xs) * 1.5];
      datasets.push(
        line(
          `${rate.toFixed(0)} GB/s`,
          [low, high].map((x) => ({ x, y: rate * x })),
        ),
      );
      const dtypes = distinct(usable.map((row) => row.dtype));
      for (const [name, tflops] of Object.entries(ceilings.tflops ?? {})) {
        const start = Math.max(low, (1000 * tflops) / rate);
        // A ceiling that no problem comes near is off the chart.
        if (!dtypes.includes(name) || start > high) continue;
        const flat = [start, high].map((x) => ({ x, y: 1000 * tflops }));
        datasets.push(line(`${tflops.toFixed(0)} TFLOP/s ${name}`, flat, [5, 4]));
      }
    }
    draw(
      'roofline',
      ours.length === 0 ? undefined : datasets,
      {
        x: { title: 'operations a byte' },
        y: { title: 'GFLOP/s', ticks: { callback: (value) => value.toLocaleString('en') } },
      },
      ({ row, us, y }, dataset) =>
        `${dataset.label}: ${row.op} ${row.dtype} ${time(us)} us, ${y.toFixed(0)} GFLOP/s`,
      'Nothing to draw.',
    );
  }

  const belowOne = (value) => (value < 1 ? 'bad' : '');
  const sorting = { goals: { direction: 1 }, losses: { direction: 1 }, rows: { direction: 1 } };
  const operationOf = ({ op }) => op;
  const dtypeOf = (item) => item.dtype;
  const problemOf = ({ problem }) => problem;

  const goalCells = [
    { head: 'operation', value: operationOf },
    { head: 'problems', value: ({ group }) => group },
    { head: 'dtype', value: dtypeOf },
    { head: 'time', value: (item) => item.column },
    { head: 'count', value: ({ problems }) => problems, text: String },
    {
      head: 'geomean',
      value: ({ geomean }) => geomean,
      text: ratio,
      tone: (value, { goal }) => (goal === null ? '' : value >= goal ? 'good' : 'bad'),
    },
    { head: 'goal', value: ({ goal }) => goal, text: ratio },
    { head: 'worst', value: ({ worst }) => worst, text: ratio, tone: belowOne },
    { head: 'losses', value: (item) => item.losses, text: String },
    { head: 'worst problem', value: ({ worstProblem }) => worstProblem },
  ];
  const lossCells = [
    { head: 'operation', value: operationOf },
    { head: 'problem', value: problemOf },
    { head: 'dtype', value: dtypeOf },
    { head: 'time', value: (item) => item.column },
    { head: 'library', value: (item) => item.library },
    { head: 'ratio', value: (item) => item.ratio, text: ratio, tone: belowOne },
  ];
  const rowCells = [
    { head: 'operation', value: operationOf },
    { head: 'problem', value: problemOf },
    { head: 'dtype', value: dtypeOf },
    { head: 'variant', value: ({ variant }) => variant },
    { head: 'us', value: (row) => timesOf(row).us, text: time },
    { head: 'library us', value: (row) => timesOf(row).peer, text: time },
    { head: 'ratio', value: ratioOf, text: ratio, tone: belowOne },
    { head: 'roof', value: ({ roof }) => roof, text: percent },
    { head: 'error/bound', value: ({ error }) => error, text: (value) => number(value) },
    ...(rows.some(({ joules }) => joules !== undefined)
      ? [{ head: 'mJ', value: ({ joules }) => joules && 1000 * joules, text: (value) => number(value) }]
      : []),
    {
      head: 'check',
      value: ({ pass }) => (pass ? 'pass' : 'FAIL'),
      tone: (value) => (value === 'pass' ? '' : 'bad'),
    },
  ];

  function update() {
    const shown = rows.filter(matches);
    const lost = losses.filter((loss) => matches(loss) && loss.column === column.value);
    figures(shown);
    drawSpeedup(shown);
    drawRoofline(shown);
    const chosen = (item) =>
      (operation.value === 'all' || item.op === operation.value) &&
      (dtype.value === 'all' || item.dtype === dtype.value) &&
      item.column === column.value;
    table(element('goals'), goalCells, summaries.filter(chosen), sorting.goals);
    table(element('losses'), lossCells, lost, sorting.losses);
    table(element('rows'), rowCells, shown, sorting.rows);
    element('loss-count').textContent = String(lost.length);
    element('row-count').textContent = String(shown.length);
  }

  const { device, driver, cuda, date, commit, version } = report;
  const parts = [device, driver && `driver ${driver}`, cuda && `CUDA ${cuda}`, `warptile ${version}`];
  parts.push(commit?.slice(0, 12), new Date(date).toISOString().slice(0, 16).replace('T', ' '));
  element('machine').textContent = parts.filter(Boolean).join(' · ');
  fill(operation, distinct(rows.map(operationOf)), true);
  fill(dtype, distinct(rows.map(dtypeOf)), true);
  const measured = columns.filter((name) =>
    rows.some((row) => (row.column ?? 'warm') === name || row.columns?.[name]),
  );
  fill(column, measured, false);
  fill(library, distinct(rows.flatMap(({ peers }) => Object.keys(peers))), false);
  for (const filter of filters) filter.addEventListener('input', update);
  element('filters').addEventListener('submit', (event) => event.preventDefault());
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', update);
  // A library that the goals speak of comes first.
  if ([...library.options].some(({ value }) => value === 'cusparse')) library.value = 'cusparse';
  update();
})();
