// Reads the AsyncAPI document and fails for every finding but a hint.
import { readFile } from 'node:fs/promises';
import { Parser } from '@asyncapi/parser';

const { document, diagnostics } = await new Parser().parse(await readFile(process.argv[2], 'utf8'));
// 0 is an error, 1 a warning.
const findings = diagnostics.filter(({ severity }) => severity <= 1);
for (const { message, path } of findings) console.error(`${path.join('/')}: ${message}`);
if (!document || findings.length) process.exit(1);
console.log(`valid: ${document.channels().length} channels, ${document.operations().length} operations, ` +
  `${document.components().messages().length} messages`);
