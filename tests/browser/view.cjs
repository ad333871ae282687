// Chooses looks, a file and another asset in the viewer, as a person would; `steps` are [list, value, what the page then says].
'use strict';
const { choose, open, says, settled } = require('./viser.cjs');

module.exports = async (tab, asked) => {
  await open(tab);
  await says(tab, asked.first);
  const pictures = [await settled(tab)];
  for (const [list, value, words] of asked.steps) {
    await choose(tab, list, value);
    await says(tab, words);
    pictures.push(await settled(tab, pictures.at(-1)));
    if (asked.shots) await tab.screenshot({ path: `${asked.shots}/view ${list} ${value}.png` });
  }
  return { pictures };
};
