"""Open driving data in their published layouts, read without their SDKs."""
