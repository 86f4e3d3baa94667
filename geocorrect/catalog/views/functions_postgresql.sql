create function run_diff(first_run text, second_run text)
returns table (
  image_id text, status_a text, status_b text, reason_a text, reason_b text, moved_m double precision,
  expected_error_a_m double precision, expected_error_b_m double precision, geom geometry(PointZ, 4326)
)
language sql stable
begin atomic
  select coalesce(a.image_id, b.image_id), a.status, b.status, a.reason, b.reason,
    sqrt(power(b.enu_x_m - a.enu_x_m, 2) + power(b.enu_y_m - a.enu_y_m, 2)),
    a.expected_error_m, b.expected_error_m, coalesce(b.geom, a.geom)
  from (select c.* from correction c join run r on r.fid = c.run_id where r.run_key = first_run) as a
  full join (select c.* from correction c join run r on r.fid = c.run_id where r.run_key = second_run) as b
    on b.image_id = a.image_id
  where a.status is distinct from b.status or a.reason is distinct from b.reason or a.lon_deg is distinct from b.lon_deg
    or a.lat_deg is distinct from b.lat_deg or a.height_m is distinct from b.height_m
  order by 1;
end;

comment on function run_diff(text, text) is
  'Photos whose result differs between two runs (run keys), also those that only one of them has.';
