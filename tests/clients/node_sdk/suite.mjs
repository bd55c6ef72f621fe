// Works with a server through the JavaScript SDK of AWS, as a program written against S3 does. The environment is that
// of tests/clients/run.py.

import "./objects.mjs";
import "./uploads.mjs";
import "./buckets.mjs";
