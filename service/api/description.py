"""The description of the API, where it says more than FastAPI finds out by itself."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

REFERENCE = "#/components/schemas/{model}"


def schema_of(model: type[BaseModel]) -> dict[str, str]:
    """Refers to the schema of a model that `add_schemas` has added."""
    return {"$ref": REFERENCE.format(model=model.__name__)}


def add_schemas(app: FastAPI, *models: type[BaseModel]) -> None:
    """Adds the schemas of models that no route has as a parameter or answer, because it reads or writes them itself."""
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=REFERENCE)
    describe = app.openapi

    def described() -> dict[str, Any]:
        document = describe()
        components = document["components"]
        components["schemas"] = definitions["$defs"] | components["schemas"]
        return document

    app.openapi = described  # type: ignore[method-assign] # FastAPI's own way to extend the document
