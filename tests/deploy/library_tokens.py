"""Prints tokens as the issuers' own libraries make them, as JSON: issuers.py runs this with the Python of target/deploy."""

import asyncio
import json
import sys
from types import SimpleNamespace

import django
import flask
from django.conf import settings
from fastapi_users.authentication import JWTStrategy
from flask_jwt_extended import JWTManager, create_access_token, create_refresh_token
from livekit import api as livekit
from stream_chat import StreamChat
from twilio.jwt.access_token import AccessToken as TwilioToken

SECRET = sys.argv[1]
settings.configure(SECRET_KEY=SECRET, INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"])
django.setup()
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken  # noqa: E402: Django is to be configured first

user = SimpleNamespace(id=42, pk=42, is_active=True, password="")
app = flask.Flask("issuer")
app.config["JWT_SECRET_KEY"] = SECRET
JWTManager(app)
with app.app_context():
    flask_tokens = create_access_token("alice"), create_refresh_token("alice")
print(json.dumps({
    "LiveKit": livekit.AccessToken("APIkey", SECRET).with_identity("alice").with_grants(
        livekit.VideoGrants(room_join=True, room="lobby")).to_jwt(),
    "Twilio": TwilioToken("AC1", "SK1", SECRET, identity="alice").to_jwt(),
    "Stream": StreamChat(api_key="key", api_secret=SECRET).create_token("alice"),
    "Flask-JWT-Extended": flask_tokens[0],
    "Flask-JWT-Extended: a refresh token": flask_tokens[1],
    "simplejwt (Django)": str(AccessToken.for_user(user)),
    "simplejwt (Django): a refresh token": str(RefreshToken.for_user(user)),
    "fastapi-users": asyncio.run(JWTStrategy(SECRET, 3600).write_token(SimpleNamespace(id=42))),
}))
