-- Lines and polygons of accepted photos, stored ready-made in `correction_shape` and indexed there. PostgreSQL answers a
-- map window from that index as long as a view joins at most eight relations; these join seven.

-- view: displacement LINESTRING | From where the photo was reported to where it was taken.
select c.fid, c.image_id, i.sequence_id, i.captured_at, c.run_key, c.status, c.displacement_m, c.displacement_east_m,
  c.displacement_north_m, c.heading_change_deg, c.expected_error_m, s.displacement as geom
from current_result c
join image i on i.image_id = c.image_id
join correction_shape s on s.fid = c.fid
where c.status = 'accepted' and s.displacement is not null;

-- view: error_ellipse POLYGON | Where the photo was taken, with 95 % probability.
select c.fid, c.image_id, c.run_key, c.status, c.semi_major_m, c.semi_minor_m, c.ellipse_azimuth_deg, c.expected_error_m,
  s.ellipse as geom
from current_result c
join correction_shape s on s.fid = c.fid
where c.status = 'accepted';

-- view: coverage POLYGON | What the corrected photo sees, 30 metres deep.
select c.fid, c.image_id, i.sequence_id, i.captured_at, c.run_key, c.status, c.heading_deg, i.horizontal_fov_deg,
  s.wedge as geom
from current_result c
join image i on i.image_id = c.image_id
join correction_shape s on s.fid = c.fid
where c.status = 'accepted' and s.wedge is not null;
