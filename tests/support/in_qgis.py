"""Runs inside QGIS' own Python: opens layers and projects as a user would, says what it sees, renders pictures.

usage: in_qgis.py JOB.json RESULT.json

The job: {"layers": [[provider, source, name]], "projects": [path], "pictures": folder}.
"""

import json
import os
import sys

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsRenderContext,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def described(layer):
    renderer = layer.renderer()
    return {
        "name": layer.name(),
        "valid": layer.isValid(),
        "count": sum(1 for _ in layer.getFeatures()) if layer.isValid() else None,
        "renderer": renderer.type() if renderer else None,
        "colours": [symbol.color().name() for symbol in renderer.symbols(QgsRenderContext())] if renderer else [],
        "crs": layer.crs().authid(),
        "tip": on_first_photo(layer, layer.mapTipTemplate()),
        "actions": {a.name(): on_first_photo(layer, a.command()) for a in layer.actions().actions("Canvas")},
        "fields": [field.name() for field in layer.fields()],
    }


def on_first_photo(layer, template):
    """A map tip or the command of an action, as QGIS fills it in for the layer's first feature."""
    feature = next(layer.getFeatures(), None) if template and layer.isValid() else None
    if feature is None:
        return None
    context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    context.setFeature(feature)
    return QgsExpression.replaceExpressionText(template, context)


def render(layers, path, extent=None):
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setBackgroundColor(QColor(255, 255, 255))
    settings.setOutputSize(QSize(1000, 600))
    target = QgsCoordinateReferenceSystem("EPSG:3857")
    settings.setDestinationCrs(target)
    if extent is None:
        for layer in layers:
            turn = QgsCoordinateTransform(layer.crs(), target, QgsProject.instance())
            box = layer.extent()
            if box.isNull() or not box.isFinite():
                continue  # a layer without a feature
            box.grow(1e-6)  # photos of one latitude: QGIS would take a box without height for its first corner
            box = turn.transformBoundingBox(box)
            if extent is None:
                extent = box
            else:
                extent.combineExtentWith(box)
        extent.grow(4.0)
    settings.setExtent(extent)
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(path, "png")


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    application = QgsApplication([], False)
    application.initQgis()
    result = {"layers": [], "projects": []}
    for provider, source, name in job["layers"]:
        layer = QgsVectorLayer(source, name, provider)
        layer.loadDefaultStyle()
        result["layers"].append(described(layer))
        if layer.isValid() and result["layers"][-1]["count"]:
            picture = os.path.join(job["pictures"], f"{len(result['layers']):02d}_{name}.png")
            result["layers"][-1]["picture"] = picture
            render([layer], picture)
    for path in job["projects"]:
        project = QgsProject.instance()
        project.clear()
        read = project.read(path)
        nodes = project.layerTreeRoot().findLayers()
        shown = [node.layer() for node in nodes if node.isVisible()]
        picture = os.path.join(job["pictures"], os.path.basename(path) + ".png")
        result["projects"].append(
            {
                "read": read,
                "layers": [described(node.layer()) for node in nodes],
                "shown": len(shown),
                "groups": [node.name() for node in project.layerTreeRoot().findGroups()],
                "crs": project.crs().authid(),
                "picture": picture,
            }
        )
        render(shown, picture)
    with open(sys.argv[2], "w") as file:
        json.dump(result, file, indent=1)
    # exitQgis crashes at the end of scripts (QGIS 3.22).
    os._exit(0)


main()
