// Opens a page in headless Chromium and runs a scenario on it: node drive.cjs MODULES SCENARIO JSON. Prints FOUND and its answer as JSON.
'use strict';
const path = require('path');

const [modules, scenario, text] = process.argv.slice(2);
const asked = JSON.parse(text);
const puppeteer = require(path.resolve(modules, 'puppeteer-core'));

(async () => {
  let code = 0;
  const browser = await puppeteer.launch({
    executablePath: asked.browser,
    headless: true,
    protocolTimeout: 300000,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--window-size=1400,900'],
  });
  try {
    const tab = await browser.newPage();
    const errors = [], requests = [];
    await tab.setViewport({ width: 1400, height: 900 });
    tab.setDefaultTimeout(120000);
    tab.on('pageerror', error => errors.push(String(error)));
    tab.on('console', message => message.type() === 'error' && errors.push(message.text()));
    tab.on('request', request => requests.push(request.url().slice(0, 200)));
    await tab.goto(asked.url, { waitUntil: 'load', timeout: 120000 });
    const found = await require(path.resolve(scenario))(tab, asked);
    process.stdout.write('FOUND ' + JSON.stringify({ ...found, errors, requests }) + '\n');
  } catch (error) {
    process.stderr.write(String(error.stack) + '\n');
    code = 3;
  } finally {
    await browser.close();
  }
  process.exit(code);
})();
