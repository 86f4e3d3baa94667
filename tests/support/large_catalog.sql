-- Photo k stands in column k % 600 of street k / 600, all 0.0001° apart. Every ninth is rejected, every fiftieth waits for
-- a review; the second run has a newer result of every tenth, the third, which is rolled back, of every twentieth.

insert into image (image_id, sequence_id, captured_at, lon_deg, lat_deg, heading_deg, computed_lon_deg,
    computed_lat_deg, quality, device_make, device_model, exif_orientation, creator, page_url, licence, provider, content_hash, geom)
  select 'photo-' || k, 'seq-' || k / 50, timestamptz '2026-01-01' + k * interval '1 s', lon, lat, 90, lon, lat, 'sfm',
    'Acme', 'Cam ' || k % 7, 1, 'ana', 'https://example.org/' || k, 'CC-BY-SA-4.0', '{}', 'hash-' || k,
    st_setsrid(st_makepoint(lon, lat), 4326)
  from (select k, 12.4 + (k % 600) * 0.0001 as lon, 41.8 + (k / 600) * 0.0001 as lat
        from generate_series(0, {last}) k) p;

insert into correction (image_id, run_id, status, reason, detail, recorded_at, content_hash, lon_deg, lat_deg, height_m,
    enu_x_m, enu_y_m, enu_z_m, heading_deg, covariance, semi_major_m, semi_minor_m, ellipse_azimuth_deg, sigma_height_m,
    expected_error_m, expected_heading_error_deg, displacement_m, displacement_east_m, displacement_north_m,
    heading_change_deg, matcher, depth, depth_is_oracle, n_anchors, n_matches, n_inliers, evidence, geom)
  select 'photo-' || k, r.fid, s.status, case s.status when 'rejected' then 'uncertain' end, '',
    timestamptz '2026-02-01' + r.fid * interval '1 d' + k * interval '0.1 s', 'hash-' || k,
    p.lon, p.lat, 48 + 0 * p.lon, k, k, 48, 90, '{}', 0.5, 0.2, 30, 0.1, 0.1 + k % 9 * 0.05, 0.2, 3, 2, 2, 5,
    'sift', 'lidar', true, 2, 400, 200, '{"anchors": [], "gate": {}, "scale_source": null}',
    st_setsrid(st_makepoint(p.lon, p.lat, 48), 4326)
  from generate_series(0, {last}) k
  join run r on k % case r.run_key when 'run-a' then 1 when 'run-b' then 10 else 20 end = 0
  cross join lateral (select case when k % 9 = 4 then 'rejected' when k % 50 = 7 then 'review' else 'accepted' end as status) s
  left join lateral (select 12.4 + (k % 600) * 0.0001 + 0.00002 as lon, 41.8 + (k / 600) * 0.0001 as lat
                     where s.status <> 'rejected') p on true
  order by r.fid, k;

insert into correction_shape (fid, displacement, ellipse, wedge)
  select fid, st_setsrid(st_makeline(st_makepoint(lon_deg - 0.00002, lat_deg), st_makepoint(lon_deg, lat_deg)), 4326),
    st_setsrid(st_makeenvelope(lon_deg, lat_deg, lon_deg + 0.00001, lat_deg + 0.00001), 4326),
    st_setsrid(st_makeenvelope(lon_deg, lat_deg, lon_deg + 0.0003, lat_deg + 0.0002), 4326)
  from correction where geom is not null;

insert into retraction (correction_id, retracted_at, because)
  select fid, timestamptz '2026-03-01', '' from correction where fid % 500 = 0;

update run set rolled_back_at = timestamptz '2026-03-01' where run_key = 'run-c';

insert into anchor (anchor_id, dataset, drive_id, alignment_id, lon_deg, lat_deg, height_m, enu_x_m, enu_y_m, enu_z_m, qx, qy,
    qz, qw, camera, path, creator, page_url, licence, geom)
  select 'drive-' || k, 'vbr', 'drive-' || k / 60, a.alignment_id, lon, lat, 48, k, k, 48, 0, 0, 0, 1, '{}', '', 'ana', '',
    'CC-BY-4.0', st_setsrid(st_makepoint(lon, lat, 48), 4326)
  from (select k, 12.4 + (k % 60) * 0.001 as lon, 41.80003 + (k / 60) * 0.0001 as lat
        from generate_series(0, {last} / 10) k) p
  cross join alignment a
