"""Runs inside QGIS' own Python: a page with two maps of the same place, photos as reported and as corrected.

usage: before_after_in_qgis.py JOB.json

The job: {"project": path of a .qgz, "street": path of a GeoJSON with outlines of "kind" building or object, "centre":
[longitude, latitude], "along": another such point of the street, which lies level, "before": title, "after": title,
"picture": path}.
"""

import json
import math
import os
import sys

from qgis.core import (
    QgsApplication,
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFillSymbol,
    QgsLayoutExporter,
    QgsLayoutItemLabel,
    QgsLayoutItemLegend,
    QgsLayoutItemMap,
    QgsLayoutItemPicture,
    QgsLayoutItemScaleBar,
    QgsLayoutPoint,
    QgsLayoutSize,
    QgsLegendRenderer,
    QgsLegendStyle,
    QgsMarkerSymbol,
    QgsPointXY,
    QgsPrintLayout,
    QgsProject,
    QgsProperty,
    QgsRectangle,
    QgsRendererCategory,
    QgsSingleSymbolRenderer,
    QgsUnitTypes,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QColor, QFont

PAGE_MM = (300.0, 132.0)
MAP_MM = (144.5, 98.0)
MARGIN_MM, TOP_MM = 3.0, 13.0
SCALE = 390
DPI = 170
INK, REPORTED = "#1b2430", "#d55e00"
PLANE = "EPSG:32633"  # metres, so that the scale is one


def street_layer(path):
    layer = QgsVectorLayer(path, "Street", "ogr")
    looks = {"building": ("#e5e1d8", "#b9b2a4"), "object": ("#cfd2d8", "#cfd2d8")}
    categories = [
        QgsRendererCategory(
            kind, QgsFillSymbol.createSimple({"color": inside, "outline_color": edge, "outline_width": "0.2"}), kind
        )
        for kind, (inside, edge) in looks.items()
    ]
    layer.setRenderer(QgsCategorizedSymbolRenderer("kind", categories))
    return layer


def claimed(layer, arrow_mm, dot_mm, arrow="arrow"):
    """The photos where they claim to be; one that does not say where it looks is a dot."""
    looks = {"color": REPORTED, "outline_color": "#ffffff", "outline_width": "0.2"}
    categories = []
    for known, name, size_mm, label in (
        (1, arrow, arrow_mm, "reported position and heading"),
        (0, "circle", dot_mm, "reported position alone"),
    ):
        symbol = QgsMarkerSymbol.createSimple({**looks, "name": name, "size": str(size_mm)})
        if known:
            symbol.setDataDefinedAngle(QgsProperty.fromField("heading_deg"))
        categories.append(QgsRendererCategory(known, symbol, label))
    layer.setRenderer(QgsCategorizedSymbolRenderer("heading_deg is not null", categories))
    return layer


def labelled(layer, text):
    """The layer with another text for each of its rules; {} stands for the rule's own."""
    for rule in layer.renderer().rootRule().children():
        rule.setLabel(text.format(rule.label()))
    return layer


def in_one_colour(layer):
    """Photos that were not corrected, whatever the reason."""
    cross = {"name": "cross2", "color": INK, "outline_color": INK, "outline_width": "0.5", "size": "2.2"}
    layer.setRenderer(QgsSingleSymbolRenderer(QgsMarkerSymbol.createSimple(cross)))
    return layer


def place(item, x_mm, y_mm, size_mm=None):
    item.attemptMove(QgsLayoutPoint(x_mm, y_mm, QgsUnitTypes.LayoutMillimeters))
    if size_mm is not None:
        item.attemptResize(QgsLayoutSize(*size_mm, QgsUnitTypes.LayoutMillimeters))


def font(points, bold=False):
    found = QFont("DejaVu Sans")
    found.setPointSizeF(points)
    found.setBold(bold)
    return found


def add_label(layout, text, x_mm, y_mm, size_mm, points, bold=False, colour=INK):
    label = QgsLayoutItemLabel(layout)
    label.setText(text)
    label.setFont(font(points, bold))
    label.setFontColor(QColor(colour))
    layout.addLayoutItem(label)
    place(label, x_mm, y_mm, size_mm)


def add_map(layout, layers, x_mm, centre, turned_deg):
    plan = QgsLayoutItemMap(layout)
    plan.setRect(0, 0, *MAP_MM)
    plan.setCrs(QgsCoordinateReferenceSystem(PLANE))
    plan.setLayers(layers)
    plan.setKeepLayerSet(True)
    plan.setBackgroundColor(QColor("#f6f6f4"))
    plan.setFrameEnabled(True)
    plan.setFrameStrokeColor(QColor("#8a8f98"))
    layout.addLayoutItem(plan)
    place(plan, x_mm, TOP_MM, MAP_MM)
    half = [0.001 * side * SCALE / 2 for side in MAP_MM]
    plan.setExtent(QgsRectangle(centre.x() - half[0], centre.y() - half[1], centre.x() + half[0], centre.y() + half[1]))
    plan.setMapRotation(turned_deg)
    return plan


def add_north_and_scale(layout, plan):
    right, bottom = plan.pos().x() + MAP_MM[0], TOP_MM + MAP_MM[1]
    north = QgsLayoutItemPicture(layout)
    north.setPicturePath(os.path.join(QgsApplication.pkgDataPath(), "svg", "arrows", "NorthArrow_04.svg"))
    north.setSvgFillColor(QColor(INK))
    north.setLinkedMap(plan)
    north.setNorthMode(QgsLayoutItemPicture.TrueNorth)
    layout.addLayoutItem(north)
    place(north, right - 17, bottom - 18, (14, 14))
    bar = QgsLayoutItemScaleBar(layout)
    bar.setStyle("Line Ticks Up")
    bar.setLinkedMap(plan)
    bar.setUnits(QgsUnitTypes.DistanceMeters)
    bar.setUnitLabel("m")
    bar.setUnitsPerSegment(5)
    bar.setNumberOfSegments(2)
    bar.setNumberOfSegmentsLeft(0)
    style = bar.textFormat()
    style.setFont(font(8))
    style.setSize(8)
    bar.setTextFormat(style)
    bar.setHeight(2)
    layout.addLayoutItem(bar)
    bar.update()
    place(bar, plan.pos().x() + 2, bottom - 12)


def add_legend(layout, plan, layers, x_mm, columns):
    legend = QgsLayoutItemLegend(layout)
    legend.setLinkedMap(plan)
    legend.setAutoUpdateModel(False)
    tree = legend.model().rootGroup()
    tree.clear()
    for layer, title in layers:
        node = tree.addLayer(layer)
        node.setName(title)
        if len(layer.renderer().legendSymbolItems()) > 1:
            QgsLegendRenderer.setNodeLegendStyle(node, QgsLegendStyle.Hidden)  # its classes say it
    legend.setLegendFilterByMapEnabled(True)  # classes that are on the map
    legend.setColumnCount(columns)
    legend.setSplitLayer(True)
    legend.setBackgroundEnabled(False)
    for style, points in ((QgsLegendStyle.Subgroup, 8.5), (QgsLegendStyle.SymbolLabel, 8.5)):
        legend.setStyleFont(style, font(points))
    legend.setFontColor(QColor(INK))
    layout.addLayoutItem(legend)
    place(legend, x_mm, TOP_MM + MAP_MM[1] + 1)
    legend.adjustBoxSize()
    legend.refresh()


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    application = QgsApplication([], True)  # legends draw their symbols as a window would
    application.initQgis()
    project = QgsProject.instance()
    assert project.read(job["project"])
    by_id = {key.removeprefix("geocorrect_"): layer for key, layer in project.mapLayers().items()}
    street = street_layer(job["street"])
    before, start = claimed(by_id["image"].clone(), 5.0, 2.4), claimed(by_id["image"], 1.7, 1.7, "circle")
    project.addMapLayers([street, before])
    turn = QgsCoordinateTransform(
        QgsCoordinateReferenceSystem("EPSG:4326"), QgsCoordinateReferenceSystem(PLANE), project
    )
    centre, along = (turn.transform(QgsPointXY(*job[name])) for name in ("centre", "along"))
    turned_deg = math.degrees(math.atan2(along.y() - centre.y(), along.x() - centre.x()))
    layout = QgsPrintLayout(project)
    layout.initializeDefaults()
    layout.pageCollection().page(0).setPageSize(QgsLayoutSize(*PAGE_MM, QgsUnitTypes.LayoutMillimeters))
    second_mm = PAGE_MM[0] - MARGIN_MM - MAP_MM[0]
    corrected = [by_id["current_correction"], in_one_colour(by_id["rejected"])]
    plans = []
    for title, layers, x_mm, colour in (
        (job["before"], [before, street], MARGIN_MM, REPORTED),
        (job["after"], [*corrected, start, by_id["displacement"], by_id["anchor"], street], second_mm, "#0b3c8c"),
    ):
        plans.append(add_map(layout, layers, x_mm, centre, turned_deg))
        add_label(layout, title, x_mm, 3, (MAP_MM[0], 9), 14, bold=True, colour=colour)
        add_north_and_scale(layout, plans[-1])
    add_legend(layout, plans[0], [(before, "")], MARGIN_MM, 2)
    photos = [
        (labelled(by_id["current_correction"], "corrected, expected error {}"), ""),
        (by_id["rejected"], "not corrected"),
    ]
    moves = [
        (labelled(by_id["displacement"], "moved from the reported position"), ""),
        (by_id["anchor"], "anchor: pose known to centimetres"),
    ]
    add_legend(layout, plans[1], photos, second_mm, 1)
    add_legend(layout, plans[1], moves, second_mm + MAP_MM[0] / 2, 1)
    settings = QgsLayoutExporter.ImageExportSettings()
    settings.dpi = DPI
    settings.generateWorldFile = False
    assert QgsLayoutExporter(layout).exportToImage(job["picture"], settings) == QgsLayoutExporter.Success
    # exitQgis crashes at the end of scripts (QGIS 3.22).
    os._exit(0)


main()
