// Watches a run: a picture for each of `steps`, which the page says, and after each a file that tells the run to go on.
'use strict';
const fs = require('fs');
const { open, says, settled } = require('./viser.cjs');

module.exports = async (tab, asked) => {
  await open(tab);
  const found = { pictures: [], views: [], plots: [] };
  for (const words of asked.steps) {
    await says(tab, words);
    found.pictures.push(await settled(tab, found.pictures.at(-1)));
    found.views.push(await tab.$$eval('img[src^="blob:"]', images => images.map(each => [each.naturalWidth, each.naturalHeight])));
    found.plots.push(await tab.$$eval('.u-title', titles => titles.map(each => each.textContent)));
    if (asked.shots) await tab.screenshot({ path: `${asked.shots}/live ${words.replace(/\W+/g, ' ')}.png` });
    fs.writeFileSync(`${asked.seen}/${words}`, '');
  }
  return found;
};
