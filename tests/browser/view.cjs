// Chooses each look and each file of an asset in the live viewer, as a person would, and gives a picture of each.
'use strict';

module.exports = async (tab, asked) => {
  await tab.waitForFunction(() => document.querySelector('canvas') && /triangles/.test(document.body.innerText));
  const found = { pictures: {} };
  const settle = () => new Promise(done => setTimeout(done, 4000)); // the scene comes over a socket, and says nothing once it is drawn
  for (const [label, value] of asked.choices) {
    const input = await tab.evaluateHandle(shown => [...document.querySelectorAll('input')].find(each => each.type === 'text' && each.value === shown), label);
    await input.click();
    await tab.waitForFunction(text => [...document.querySelectorAll('[role=option]')].some(each => each.textContent === text), {}, value);
    await tab.$$eval('[role=option]', (options, text) => options.find(each => each.textContent === text).click(), value);
    await settle();
    found.pictures[value] = Buffer.from(await tab.screenshot({ clip: { x: 350, y: 250, width: 650, height: 550 } })).toString('base64');
    if (asked.shots) await tab.screenshot({ path: `${asked.shots}/view ${value}.png` });
  }
  found.text = await tab.evaluate(() => document.body.innerText);
  return found;
};
