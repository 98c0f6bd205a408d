// Signs every case of cases.json with each JavaScript library; one JSON line a token on standard output.
import { readFileSync } from "node:fs";
import { createSigner } from "fast-jwt";
import { SignJWT } from "jose";
import jsonwebtoken from "jsonwebtoken";
import jws from "jws";
import njwt from "njwt";

const json = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
const cases = json("./cases.json");
const { dependencies } = json("./package.json");

const libraries = {
  "jose": (claims, secret) =>
    new SignJWT(claims).setProtectedHeader({ alg: "HS256", typ: "JWT" }).sign(secret),
  "jsonwebtoken": (claims, secret) =>
    jsonwebtoken.sign(claims, secret, { algorithm: "HS256", noTimestamp: !("iat" in claims) }),
  "fast-jwt": (claims, secret) =>
    createSigner({ key: secret, algorithm: "HS256", noTimestamp: !("iat" in claims) })(claims),
  "jws": (payload, secret) => jws.sign({ header: { alg: "HS256" }, payload, secret }),
  // njwt adds a jti and its own times: the body is emptied of them first.
  "njwt": (claims, secret) => {
    const jwt = njwt.create({}, secret, "HS256");
    for (const name of Object.keys(jwt.body)) delete jwt.body[name];
    Object.assign(jwt.body, claims);
    return jwt.compact();
  },
};

for (const [library, sign] of Object.entries(libraries)) {
  for (const { case: name, claims, secret } of cases) {
    try {
      const token = await sign(structuredClone(claims), Buffer.from(secret, "base64url"));
      console.log(JSON.stringify({
        library, version: dependencies[library], language: "JavaScript", case: name, token,
      }));
    } catch (error) {
      console.error(`${library} will not make ${name}: ${error.message}`);
    }
  }
}
