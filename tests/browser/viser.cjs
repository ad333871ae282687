// What scenarios of viser's page share: choosing from its lists, and pictures of its scene once they no longer change.
'use strict';

const WIDTH = 1000, HEIGHT = 640, PANEL = 340;

// What of the scene the panel leaves free.
const picture = async tab => Buffer.from(await tab.screenshot({ clip: { x: 0, y: 0, width: WIDTH - PANEL, height: HEIGHT } })).toString('base64');

// The share of a picture's pixels that have not the colour of its first one.
const seen = (tab, bytes) => tab.evaluate(async data => {
  const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${data}`)).blob());
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
  context.drawImage(bitmap, 0, 0);
  const values = new Uint32Array(context.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer);
  return values.reduce((count, value) => count + (value !== values[0]), 0) / values.length;
}, bytes);

// Open the page's viewer small, so that a software renderer is quick, without the note that it is one.
const open = async tab => {
  await tab.setViewport({ width: WIDTH, height: HEIGHT });
  const note = await tab.waitForSelector('#webgl-software-rendering button', { timeout: 20000 }).catch(() => null);
  if (note) await note.click();
  await tab.addStyleTag({ content: '.mantine-Notifications-root { display: none }' });
};

// A picture that shows something, differs from `before`, and was the same a second ago.
const settled = async (tab, before = '') => {
  const end = Date.now() + 180000;
  for (let last = ''; Date.now() < end;) {
    const now = await picture(tab);
    if (now === last && now !== before && await seen(tab, now) > 0.01) return now;
    last = now;
    await new Promise(done => setTimeout(done, 1000));
  }
  throw new Error(`the scene shows nothing new that stays: ${await tab.evaluate(() => document.body.innerText)}`);
};

const choose = async (tab, list, value) => {
  const input = await tab.evaluateHandle(list => {
    const label = [...document.querySelectorAll('label')].find(each => each.textContent === list);
    return document.getElementById(label.htmlFor);
  }, list);
  await input.click();
  await tab.waitForFunction(value => {
    const option = [...document.querySelectorAll('[role=option]')].find(each => each.textContent === value && each.checkVisibility());
    if (option) option.click();
    return option;
  }, {}, value);
};

const says = (tab, text) => tab.waitForFunction(text => document.body.innerText.includes(text), {}, text);

module.exports = { choose, open, says, settled };
