// Serves three.js and one GLB on loopback, opens the page in a browser, and writes what the page has found.
'use strict';
const fs = require('fs'), http = require('http'), path = require('path');

const [modules, page, text] = process.argv.slice(2);
const asked = JSON.parse(text);
const puppeteer = require(path.join(modules, 'puppeteer-core'));
const three = fs.realpathSync(path.join(modules, 'three')) + path.sep;
const html = fs.readFileSync(page, 'utf8').replace('"SHOT"', JSON.stringify(asked.shot).replace(/</g, '\\u003c'));

const server = http.createServer((request, response) => {
  const url = decodeURIComponent(request.url.split('?')[0]);
  const file = path.resolve(three, url.replace(/^\/three\//, ''));
  if (url === '/') {
    response.setHeader('content-type', 'text/html');
    response.end(html);
  } else if (url === '/asset.glb') {
    response.end(fs.readFileSync(asked.file));
  } else if (url.startsWith('/three/') && file.startsWith(three) && fs.existsSync(file)) {
    response.setHeader('content-type', 'text/javascript');
    response.end(fs.readFileSync(file));
  } else {
    response.statusCode = 404;
    response.end();
  }
});

server.listen(0, '127.0.0.1', async () => {
  let code = 0;
  const browser = await puppeteer.launch({
    executablePath: asked.browser,
    headless: true,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--use-angle=swiftshader', '--enable-unsafe-swiftshader'],
  });
  try {
    const tab = await browser.newPage();
    await tab.goto(`http://127.0.0.1:${server.address().port}/`);
    await tab.waitForFunction('window.found', { timeout: 120000 });
    const { picture, ...found } = await tab.evaluate('window.found');
    if (picture) fs.writeFileSync(asked.picture, picture.split(',')[1]);
    process.stdout.write('FOUND ' + JSON.stringify(found) + '\n');
  } catch (error) {
    process.stderr.write(String(error) + '\n');
    code = 3;
  } finally {
    await browser.close();
    server.close();
  }
  process.exit(code);
});
