// oidc-provider, as it comes, on a free port of 127.0.0.1, with the clients that tests/real_servers.rs knows.
//
// Prints its issuer on the first line of stdout, and ends when stdin does.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [packages] = process.argv.slice(2);
const { default: Provider } = await import(
  pathToFileURL(createRequire(`${packages}/`).resolve('oidc-provider')).href
);

// Its notices go to stderr: nobody reads stdout after the first line.
console.info = console.warn;

const SECRET = 'a secret &=+/%:0123456789012345678901234567';
const CODE = {
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  redirect_uris: ['http://localhost/', 'http://127.0.0.1/'],
  application_type: 'native',
};

const clients = [
  { ...CODE, client_id: 'basic', client_secret: SECRET, token_endpoint_auth_method: 'client_secret_basic' },
  { ...CODE, client_id: 'post', client_secret: SECRET, token_endpoint_auth_method: 'client_secret_post' },
  { ...CODE, client_id: 'public', token_endpoint_auth_method: 'none' },
  {
    client_id: 'device',
    token_endpoint_auth_method: 'none',
    grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
    response_types: [],
    redirect_uris: [],
  },
  {
    client_id: 'machine',
    client_secret: SECRET,
    token_endpoint_auth_method: 'client_secret_basic',
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
  },
];

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients,
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'none'],
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
    },
    rotateRefreshToken: true,
    scopes: ['openid', 'offline_access', 'mail'],
    ttl: { AccessToken: 600, ClientCredentials: 600, DeviceCode: 600 },
  });
  server.on('request', provider.callback());
  console.log(issuer);
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
