-- Lines and polygons, computed by PostGIS on the WGS84 ellipsoid. Longitudes next to a place near the antimeridian are
-- kept on its side (beyond ±180), so that no shape runs around the world.

-- view: displacement LINESTRING | From where the photo was reported to where it was taken.
select c.fid, c.image_id, i.sequence_id, i.captured_at, c.run_key, c.status, c.displacement_m, c.displacement_east_m,
  c.displacement_north_m, c.heading_change_deg, c.expected_error_m,
  ST_SetSRID(ST_MakeLine(
    ST_MakePoint(i.lon_deg, i.lat_deg),
    ST_MakePoint(
      c.lon_deg + case when c.lon_deg - i.lon_deg > 180 then -360 when c.lon_deg - i.lon_deg < -180 then 360 else 0 end,
      c.lat_deg
    )
  ), 4326)::geometry(LineString, 4326) as geom
from current_result c
join image i on i.image_id = c.image_id
where c.status <> 'rejected' and i.lon_deg is not null;

-- view: error_ellipse POLYGON | Where the photo was taken, with 95 % probability.
select c.fid, c.image_id, c.run_key, c.status, c.semi_major_m, c.semi_minor_m, c.ellipse_azimuth_deg, c.expected_error_m,
  (
    select ST_SetSRID(ST_MakePolygon(ST_MakeLine(
      ST_MakePoint(p.lon + case when p.lon - c.lon_deg > 180 then -360 when p.lon - c.lon_deg < -180 then 360 else 0 end, p.lat)
      order by k
    )), 4326)
    from (
      select k, ST_X(place) as lon, ST_Y(place) as lat
      from generate_series(0, 36) as k
      cross join lateral (select radians(10.0 * (k % 36)) as t) as turn
      cross join lateral (
        select ST_Project(
          ST_SetSRID(ST_MakePoint(c.lon_deg, c.lat_deg), 4326)::geography,
          sqrt(power(c.semi_major_m * cos(t), 2) + power(c.semi_minor_m * sin(t), 2)),
          radians(c.ellipse_azimuth_deg) + atan2(c.semi_minor_m * sin(t), c.semi_major_m * cos(t))
        )::geometry as place
      ) as projected
    ) as p
  )::geometry(Polygon, 4326) as geom
from current_result c
where c.status <> 'rejected';

-- view: coverage POLYGON | What the corrected photo sees, 30 metres deep.
select c.fid, c.image_id, i.sequence_id, i.captured_at, c.run_key, c.status, c.heading_deg, i.horizontal_fov_deg,
  (
    select ST_SetSRID(ST_MakePolygon(ST_MakeLine(
      ST_MakePoint(p.lon + case when p.lon - c.lon_deg > 180 then -360 when p.lon - c.lon_deg < -180 then 360 else 0 end, p.lat)
      order by k
    )), 4326)
    from (
      select k, ST_X(place) as lon, ST_Y(place) as lat
      from generate_series(0, 25) as k
      cross join lateral (
        select ST_Project(
          ST_SetSRID(ST_MakePoint(c.lon_deg, c.lat_deg), 4326)::geography,
          case when i.horizontal_fov_deg < 360 and k in (0, 25) then 0.0 else 30.0 end,
          radians(c.heading_deg + case
            when i.horizontal_fov_deg < 360 then i.horizontal_fov_deg * ((k - 1) / 23.0 - 0.5)
            else 360.0 * (k % 25) / 25.0
          end)
        )::geometry as place
      ) as projected
    ) as p
  )::geometry(Polygon, 4326) as geom
from current_result c
join image i on i.image_id = c.image_id
where c.status <> 'rejected' and c.heading_deg is not null and i.horizontal_fov_deg is not null;
