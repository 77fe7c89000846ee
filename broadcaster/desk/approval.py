"""Placeholder: another helper writes this module."""

from __future__ import annotations

from aiohttp import web

routes = web.RouteTableDef()
