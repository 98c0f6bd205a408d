// Express with express-jwt.
'use strict';

const { createSecretKey } = require('node:crypto');
const express = require('express');
const { expressjwt } = require('express-jwt');

// A string, as in the README of express-jwt. jsonwebtoken then tries to read it
// as a PEM public key on every request, which costs far more than the
// verification; a KeyObject avoids that.
const secret = process.env.JWT_KEY_OBJECT
  ? createSecretKey(process.env.JWT_SECRET, 'utf8')
  : process.env.JWT_SECRET;

const app = express();

app.get('/resource', (req, res) => {
  res.json({ message: 'Public resource. You can see this.' });
});

app.get('/resource/secret', expressjwt({ secret, algorithms: ['HS256'] }), (req, res) => {
  res.json({ message: 'Secret resource. You should be logged in to see this.' });
});

app.use((err, req, res, next) => {
  if (err.name !== 'UnauthorizedError') return next(err);
  const challenge = err.code === 'invalid_token' ? 'Bearer error="invalid_token"' : 'Bearer';
  res.status(401).set('WWW-Authenticate', challenge).json({ message: err.message });
});

app.listen(Number(process.env.API_PORT), '127.0.0.1');
