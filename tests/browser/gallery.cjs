// Filters, sorts, turns pages, and opens a row in the viewer, as a person would.
'use strict';

module.exports = async (tab, asked) => {
  const names = () => tab.$$eval('.card .name', found => found.map(each => each.textContent));
  const count = () => tab.$eval('#count', found => found.textContent);
  const shot = async name => asked.shots && tab.screenshot({ path: `${asked.shots}/${name}.png` });
  const found = { title: await tab.title(), first: await names(), count: await count() };
  await shot('gallery');
  await tab.type('input[name=text]', asked.text);
  found.filtered = [await names(), await count()];
  await shot('filtered');
  await tab.$eval('input[name=text]', input => { input.value = ''; input.dispatchEvent(new Event('input')); });
  for (const [name, value] of asked.selects) {
    await tab.select(`select[name=${name}]`, value);
    found[`${name}=${value}`] = await names();
    await tab.select(`select[name=${name}]`, name === 'order' ? 'name' : '');
  }
  await tab.click('button[title="next page"]').catch(() => {});
  found.second = await names();
  await tab.click('button[title="page before"]').catch(() => {});
  if (!asked.open) return found;
  const title = `button[title="look at ${asked.open}"]`;
  await tab.hover(title);
  await tab.waitForFunction(title => document.querySelector(`${title} .turn`)?.naturalWidth > 0, {}, title);
  found.turning = [await tab.$$eval('.turn', turns => turns.map(turn => decodeURI(new URL(turn.src).pathname).split('/').slice(-2).join('/')))];
  await shot('turning');
  await tab.hover('#count');
  found.turning.push(await tab.$$eval('.turn', turns => turns.length));
  await tab.$$eval('.card > button', (buttons, title) => buttons.find(button => button.title === title).click(), `look at ${asked.open}`);
  await tab.waitForFunction(() => document.body.dataset.viewed || /cannot be shown|Too much|no asset/.test(document.querySelector('#note')?.textContent));
  found.note = await tab.$eval('#note', note => (note.hidden ? '' : note.textContent));
  found.viewed = [await tab.evaluate(() => document.body.dataset.viewed)];
  found.models = await tab.$$eval('dialog header button', buttons => buttons.map(button => button.textContent));
  const settle = () => tab.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))));
  await settle();
  const picture = async () => {
    const { width, height } = await tab.$eval('#stage', stage => ({ width: stage.clientWidth, height: stage.clientHeight }));
    return { width, height, bytes: Buffer.from(await (await tab.$('#stage')).screenshot()).toString('base64') };
  };
  found.pictures = {};
  for (const name of found.models.filter(text => text !== 'Close')) {
    await tab.evaluate(() => delete document.body.dataset.viewed);
    const look = ['Textured', 'Clay', 'Wireframe'].includes(name);
    await tab.$$eval('dialog header button', (buttons, text) => buttons.find(button => button.textContent === text).click(), name);
    if (!look) found.viewed.push(await (await tab.waitForFunction(() => document.body.dataset.viewed)).jsonValue());
    await settle();
    found.pictures[name] = (await picture()).bytes;
    await shot(`viewer ${name}`);
  }
  await tab.click('#close');
  found.closed = await tab.$eval('dialog', dialog => !dialog.open);
  return found;
};
