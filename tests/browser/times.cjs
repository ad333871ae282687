// How long a gallery takes to open and its filters to answer: milliseconds until the picture is there, and of its script alone.
'use strict';

module.exports = async tab => tab.evaluate(async () => {
  const painted = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))));
  const opened = performance.getEntriesByType('navigation')[0];
  const timed = async change => {
    const start = performance.now();
    change();
    const script = performance.now() - start;
    return { script, painted: (await painted()) - start };
  };
  const set = (name, value, event) => () => {
    const element = document.querySelector(`[name=${name}]`);
    element.value = value;
    element.dispatchEvent(new Event(event));
  };
  return {
    ready: opened.domContentLoadedEventEnd,
    text: await timed(set('text', 'number 99', 'input')),
    order: await timed(set('order', 'most triangles', 'change')),
    tag: await timed(set('tag', 'kitchen', 'change')),
    count: document.querySelector('#count').textContent,
  };
});
