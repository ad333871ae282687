'use strict';
(() => {
  const about = JSON.parse(document.getElementById('about').textContent);
  const rows = JSON.parse(document.getElementById('rows').textContent);
  const PAGE = 48, FROM_DISK = location.protocol === 'file:';
  const STATUS = { p: ['pass', 'good'], f: ['fail', 'bad'], n: ['not measured', 'open'] };

  // All text goes in as text, never as markup: names, prompts and messages are not trusted.
  function make(kind, attributes = {}, ...children) {
    const element = Object.assign(document.createElement(kind), attributes);
    element.append(...children);
    return element;
  }
  const select = (name, options) => make('select', { name, title: name }, ...options.map(([value, text]) => make('option', { value }, text)));
  const url = (row, file) => row.at + '/' + file;

  // ---- rows: what the filters look at, once
  const tags = new Map(), statuses = new Map();
  rows.forEach((row, index) => {
    row.index = index;
    row.text = (row.name + ' ' + row.prompt).toLowerCase();
    row.failed = [...row.audit].filter(status => status === 'f').length;
    row.unmeasured = [...row.audit].filter(status => status === 'n').length;
    statuses.set(row.status, (statuses.get(row.status) || 0) + 1);
    for (const tag of row.tags) tags.set(tag, (tags.get(tag) || 0) + 1);
  });
  const counted = counts => [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, count]) => [name, `${name} (${count})`]);
  const AUDITS = {
    passed: row => row.audit && !row.failed && !row.unmeasured,
    failed: row => row.failed > 0,
    'not measured': row => row.unmeasured > 0,
  };
  const last = value => (value === null || value === '' ? Infinity : value);
  const ORDERS = {
    name: null,
    'newest first': (a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0),
    'oldest first': (a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0),
    'fewest seconds': (a, b) => last(a.seconds) - last(b.seconds) || 0,
    'most seconds': (a, b) => (b.seconds ?? -1) - (a.seconds ?? -1),
    'fewest triangles': (a, b) => last(a.triangles) - last(b.triangles) || 0,
    'most triangles': (a, b) => (b.triangles ?? -1) - (a.triangles ?? -1),
  };

  // ---- filters and pages
  const search = make('input', { type: 'search', name: 'text', placeholder: 'words of a name or prompt', autocomplete: 'off' });
  const status = select('status', [['', 'any status'], ...counted(statuses)]);
  const tag = select('tag', [['', 'any tag'], ...counted(tags)]);
  const audit = select('audit', [['', 'any audit'], ['passed', 'all rows pass'], ['failed', 'some row fails'], ['not measured', 'some row not measured']]);
  const order = select('order', Object.keys(ORDERS).map(name => [name, 'by ' + name]));
  const before = make('button', { type: 'button', title: 'page before' }, '‹'), after = make('button', { type: 'button', title: 'next page' }, '›');
  const at = make('span'), count = document.getElementById('count'), grid = make('main', { id: 'grid' });
  const bar = make('form', {}, search, status, tag, audit, order, before, at, after);
  bar.addEventListener('submit', event => event.preventDefault());
  count.before(bar);
  count.after(grid);
  tag.hidden = tags.size === 0;

  let shown = rows, page = 0;
  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown = rows.filter(row =>
      (!status.value || row.status === status.value) && (!tag.value || row.tags.includes(tag.value))
      && (!audit.value || AUDITS[audit.value](row)) && words.every(word => row.text.includes(word)));
    if (ORDERS[order.value]) shown = [...shown].sort(ORDERS[order.value]);
    turn(0);
  }
  function turn(to) {
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    page = Math.min(Math.max(to, 0), pages - 1);
    at.textContent = `${page + 1} / ${pages}`;
    before.disabled = page === 0;
    after.disabled = page === pages - 1;
    const more = about.rows_left_out ? `; ${about.rows_left_out} more are left out of this page` : '';
    count.textContent = `${shown.length} of ${rows.length} rows${more}`;
    grid.replaceChildren(...shown.slice(page * PAGE, (page + 1) * PAGE).map(card));
  }
  search.addEventListener('input', filter);
  for (const element of [status, tag, audit, order]) element.addEventListener('change', filter);
  before.addEventListener('click', () => turn(page - 1));
  after.addEventListener('click', () => turn(page + 1));

  // ---- cards
  function badges(row) {
    const made = [];
    const badge = (text, kind, title = '') => made.push(make('span', { className: 'badge ' + kind, title }, text));
    if (row.status !== 'done') badge(row.failure || row.status, 'bad');
    if (row.audit) {
      const named = letter => about.properties.filter((_, number) => row.audit[number] === letter).join(', ');
      badge(`${row.audit.length - row.failed - row.unmeasured} of ${row.audit.length} pass`, row.failed ? 'bad' : 'good');
      if (row.failed) badge(`${row.failed} fail`, 'bad', named('f'));
      if (row.unmeasured) badge(`${row.unmeasured} not measured`, 'open', named('n'));
    }
    for (const name of row.tags) badge(name, 'tag');
    return make('div', { className: 'badges' }, ...made);
  }
  const links = row => make('div', { className: 'links' }, ...row.files.map(file => make('a', { href: url(row, file) }, file)));
  const few = row => [row.triangles === null ? '' : `${row.triangles.toLocaleString('en')} triangles`, row.seconds === null ? '' : `${row.seconds.toFixed(1)} s`,
    row.seed === null ? '' : `seed ${row.seed}`].filter(Boolean).join(' · ');
  // The turntable lies over the picture while a pointer or the keyboard is there; loaded then, and not where motion is unwanted.
  function turning(button, src) {
    const turn = make('img', { className: 'turn', alt: '' });
    const start = () => { if (!matchMedia('(prefers-reduced-motion: reduce)').matches) { turn.src = src; button.append(turn); } };
    for (const kind of ['pointerenter', 'focus']) button.addEventListener(kind, start);
    for (const kind of ['pointerleave', 'blur']) button.addEventListener(kind, () => turn.remove());
  }
  function card(row) {
    const picture = row.files.includes('preview.png')
      ? make('img', { src: url(row, 'preview.png'), loading: 'lazy', decoding: 'async', alt: '' }) : 'no picture';
    const button = make('button', { type: 'button', title: 'look at ' + row.name }, picture);
    button.addEventListener('click', () => open(row));
    if (row.files.includes('turntable.webp')) turning(button, url(row, 'turntable.webp'));
    const lines = [make('div', { className: 'name' }, row.name), make('div', { className: 'prompt' }, row.prompt), make('div', { className: 'few' }, few(row)), badges(row)];
    if (row.message) lines.push(make('div', { className: 'message few' }, row.message));
    return make('article', { className: 'card' }, button, make('div', {}, ...lines));
  }

  // ---- one row, and its models
  const title = make('h2'), looks = make('span'), models = make('span'), stage = make('div', { id: 'stage' });
  const note = make('p', { id: 'note' }), details = make('div', { id: 'about-row' });
  const dialog = make('dialog', {}, make('header', {}, title, looks, models, make('button', { type: 'button', id: 'close' }, 'Close')), stage, details);
  document.body.append(dialog);
  dialog.querySelector('#close').addEventListener('click', () => dialog.close());
  dialog.addEventListener('close', () => { opened = null; viewer?.clear(); });

  function choices(parent, names, chosen, choose) {
    parent.replaceChildren(...names.map(([value, text]) => {
      const button = make('button', { type: 'button', ariaPressed: String(value === chosen) }, text);
      button.addEventListener('click', () => {
        for (const other of parent.children) other.ariaPressed = String(other === button);
        choose(value);
      });
      return button;
    }));
  }
  function modelName(file) {
    const level = /_LOD(\d+)\.glb$/.exec(file);
    return level ? 'LOD ' + level[1] : file.endsWith('_collision.glb') ? 'Hulls' : 'Full';
  }
  function facts(row) {
    const list = make('dl');
    const fact = (name, value) => value && list.append(make('dt', {}, name), make('dd', {}, value));
    fact('prompt', row.prompt);
    fact('status', row.status + (row.failure ? ': ' + row.failure : ''));
    fact('message', row.message);
    fact('size', few(row));
    fact('time', row.time);
    fact('tags', row.tags.join(', '));
    const measured = make('dl');
    about.properties.forEach((property, number) => {
      const [text, kind] = STATUS[row.audit[number]] || [];
      if (text) measured.append(make('dt', {}, property), make('dd', {}, make('span', { className: 'badge ' + kind }, text)));
    });
    details.replaceChildren(list, measured, links(row));
  }

  let viewer = null, opened = null, look = 'textured';
  function open(row) {
    opened = row;
    title.textContent = row.name;
    facts(row);
    stage.replaceChildren(note);
    dialog.showModal();
    const found = row.status === 'missing' ? [] : row.files.filter(file => /^asset(_LOD\d+|_collision)?\.glb$/.test(file)).sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
    const there = found.filter(file => !FROM_DISK || document.getElementById(`${row.index}/${file}`));
    look = 'textured';
    choices(looks, there.length ? [['textured', 'Textured'], ['clay', 'Clay'], ['wireframe', 'Wireframe']] : [], look, chosen => viewer?.look(look = chosen));
    choices(models, there.map(file => [file, modelName(file)]), there[0], file => load(row, file));
    if (there.length) load(row, there[0]);
    else say(found.length ? `Too much to lie in this page. This command opens it: dreamfusion-mesh gallery '${about.folder}' --serve` : 'There is no asset.');
  }
  const say = text => { note.hidden = !text; note.textContent = text; };

  async function content(row, file) {
    const embedded = document.getElementById(`${row.index}/${file}`);
    if (embedded) return Uint8Array.from(atob(embedded.textContent), letter => letter.charCodeAt(0)).buffer;
    const answer = await fetch(url(row, file));
    if (!answer.ok) throw new Error(`${file}: ${answer.status} ${answer.statusText}`);
    return answer.arrayBuffer();
  }
  async function load(row, file) {
    say('Opening ' + file);
    try {
      viewer ??= new Viewer();
      stage.append(viewer.renderer.domElement, note);
      const bytes = await content(row, file);
      const scene = await new Promise((done, failed) => new THREE.GLTFLoader().parse(bytes, '', found => done(found.scene), failed));
      if (opened !== row) return;
      viewer.show(scene, look);
      say('');
      document.body.dataset.viewed = `${row.name}/${file}`;
    } catch (error) {
      say(`${file} cannot be shown here: ${error.message || error}`);
    }
  }

  class Viewer {
    constructor() {
      this.renderer = new THREE.WebGLRenderer({ antialias: true });
      this.renderer.outputEncoding = THREE.sRGBEncoding;
      this.renderer.setPixelRatio(window.devicePixelRatio);
      this.scene = new THREE.Scene();
      this.scene.background = new THREE.Color(0x454545).convertSRGBToLinear();
      this.camera = new THREE.PerspectiveCamera(30, 1, 0.01, 1000);
      const key = new THREE.DirectionalLight(0xffffff, 0.6);
      key.position.set(-0.45, 0.8, 1); // above the camera's left shoulder
      this.camera.add(key);
      this.scene.add(this.camera, new THREE.HemisphereLight(0xffffff, 0x777777, 0.55));
      this.clay = new THREE.MeshStandardMaterial({ color: new THREE.Color(0xbbbbbb).convertSRGBToLinear(), roughness: 0.9, polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1 });
      this.controls = new THREE.TrackballControls(this.camera, this.renderer.domElement);
      Object.assign(this.controls, { rotateSpeed: 3, dynamicDampingFactor: 0.2 });
      new ResizeObserver(() => this.fit()).observe(stage);
      const frame = () => {
        requestAnimationFrame(frame);
        if (!this.model) return;
        this.controls.update();
        this.renderer.render(this.scene, this.camera);
      };
      frame();
    }
    fit() {
      const { clientWidth: width, clientHeight: height } = stage;
      if (!width || !height) return;
      this.renderer.setSize(width, height);
      this.camera.aspect = width / height;
      this.camera.updateProjectionMatrix();
      this.controls.handleResize();
    }
    clear() {
      if (!this.model) return;
      this.scene.remove(this.model);
      this.model.traverse(part => {
        part.geometry?.dispose();
        for (const texture of Object.values(part.own || {})) if (texture?.isTexture) texture.dispose();
        part.own?.dispose();
      });
      this.model = null;
    }
    show(model, look) {
      const first = !this.model;
      this.clear();
      this.model = model;
      this.meshes = [];
      model.traverse(part => { if (part.isMesh) this.meshes.push(part); });
      for (const mesh of this.meshes) {
        mesh.own = mesh.material;
        if (!mesh.geometry.attributes.normal) { // hulls have none
          mesh.geometry = mesh.geometry.toNonIndexed();
          mesh.geometry.computeVertexNormals();
        }
        const lines = new THREE.LineSegments(new THREE.WireframeGeometry(mesh.geometry), new THREE.LineBasicMaterial({ color: 0x040a10 }));
        mesh.lines = lines;
        mesh.add(lines);
      }
      this.scene.add(model);
      this.look(look);
      if (!first) return;
      const sphere = new THREE.Box3().setFromObject(model).getBoundingSphere(new THREE.Sphere());
      this.fit();
      const distance = sphere.radius / Math.sin((this.camera.fov * Math.PI) / 360);
      this.camera.near = distance / 100;
      this.camera.far = distance * 10;
      this.controls.reset();
      this.controls.target.copy(sphere.center);
      this.camera.position.set(0.5, 0.45, 1).setLength(distance * 1.05).add(sphere.center);
      this.camera.updateProjectionMatrix();
      this.controls.update();
    }
    look(look) {
      for (const mesh of this.meshes || []) {
        mesh.material = look === 'textured' ? mesh.own : this.clay;
        mesh.lines.visible = look === 'wireframe';
      }
    }
  }

  filter();
})();
