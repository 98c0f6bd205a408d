// Fastify with @fastify/jwt, with a schema for its responses.
'use strict';

const fastify = require('fastify')();

fastify.register(require('@fastify/jwt'), {
  secret: process.env.JWT_SECRET,
  verify: { algorithms: ['HS256'] },
  messages: { noAuthorizationInHeaderMessage: 'No authorization token was found' },
});

fastify.decorate('authenticate', async (request, reply) => {
  try {
    await request.jwtVerify();
  } catch (err) {
    const missing = err.code === 'FST_JWT_NO_AUTHORIZATION_IN_HEADER';
    reply.header('WWW-Authenticate', missing ? 'Bearer' : 'Bearer error="invalid_token"');
    err.statusCode = 401; // a token with another algorithm would get a 500
    throw err;
  }
});

const schema = {
  response: {
    200: { type: 'object', properties: { message: { type: 'string' } } },
  },
};

fastify.after(() => {
  fastify.get('/resource', { schema }, async () => {
    return { message: 'Public resource. You can see this.' };
  });

  fastify.get('/resource/secret', { schema, onRequest: [fastify.authenticate] }, async () => {
    return { message: 'Secret resource. You should be logged in to see this.' };
  });
});

fastify.listen({ port: Number(process.env.API_PORT), host: '127.0.0.1' });
