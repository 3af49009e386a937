"""Gemini models on Vertex AI, by a Google service account.

The region `global` has no prefix in the host's name
(https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations, read 2026-11).
"""

from gateway.providers.billing import GEMINI_IMAGES, Billing
from gateway.providers.provider import Extra, Provider, Signed

PROVIDER = Provider(
    name="vertex",
    base_url="https://{region_prefix}aiplatform.googleapis.com",
    auth=Signed("google"),
    dialect="vertex",
    options={"project": "", "region": "us-central1"},
    models_path="/v1beta1/publishers/google/models",
    extra=Extra("google", "google.auth", unless_keyed=True),
    billing=Billing(image_tokens=GEMINI_IMAGES, bills_after_cancel="yes"),
)
