-- The table in which QGIS looks for default styles, on either back-end. "-- statement: NAME" starts a statement.

-- statement: geopackage_table
CREATE TABLE IF NOT EXISTS layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT,
  f_table_schema TEXT, f_table_name TEXT, f_geometry_column TEXT, styleName TEXT, styleQML TEXT, styleSLD TEXT,
  useAsDefault BOOLEAN, description TEXT, owner TEXT, ui TEXT,
  update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))

-- QGIS ignores the table unless it is registered.
-- statement: geopackage_registration
INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier) VALUES ('layer_styles', 'attributes',
'layer_styles')

-- statement: geopackage_insert
INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML,
  styleSLD, useAsDefault, description, owner) VALUES ('', '', :layer, :column, :style, :qml, '', 1, :description, '')

-- statement: geopackage_update
update layer_styles set styleQML = :qml where f_table_name = :layer and styleName = :style

-- statement: postgres_table
create table if not exists public.layer_styles (id serial primary key, f_table_catalog varchar(256),
  f_table_schema varchar(256), f_table_name varchar(256), f_geometry_column varchar(256), stylename varchar(30),
  styleqml xml, stylesld xml, useasdefault boolean, description text, owner varchar(30), ui xml,
  update_time timestamp default current_timestamp, type varchar)

-- statement: postgres_insert
insert into public.layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, stylename, styleqml,
  useasdefault, description, owner) values (current_database(), :schema, :layer, :column, :style,
  xmlparse(document :qml), true, :description, left(current_user, 30))

-- statement: postgres_update
update public.layer_styles set styleqml = xmlparse(document :qml)
where f_table_schema = :schema and f_table_name = :layer and stylename = :style

-- QGIS keeps no order among several defaults: a user's comes before ours.
-- statement: prefer_other_default
update {table} as ours set useasdefault = {no} where stylename = :style and f_table_schema = :schema and exists (
  select 1 from {table} as other
  where other.f_table_schema = :schema and other.f_table_name = ours.f_table_name and other.stylename <> :style
    and other.useasdefault = {yes}
)
