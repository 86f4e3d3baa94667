-- Views that PostGIS and SQLite understand alike. A result is in force when its run is not rolled back, it is not retracted,
-- and no newer result in force exists for the same photo.

-- view: current_result | The result in force of every photo, corrected or rejected.
select c.*, r.run_key
from correction c
join run r on r.fid = c.run_id
where r.rolled_back_at is null
  and not exists (select 1 from retraction t where t.correction_id = c.fid)
  and not exists (
    select 1
    from correction newer
    join run newer_run on newer_run.fid = newer.run_id
    where newer.image_id = c.image_id and newer.fid > c.fid and newer_run.rolled_back_at is null
      and not exists (select 1 from retraction t where t.correction_id = newer.fid)
  );

-- view: current_correction POINT Z | Corrected photos in force, at their corrected positions.
select c.fid, c.image_id, i.sequence_id, i.captured_at, c.run_key, c.status, c.lon_deg, c.lat_deg, c.height_m, c.heading_deg,
  c.pitch_deg, c.roll_deg, c.expected_error_m, c.expected_heading_error_deg, c.semi_major_m, c.semi_minor_m,
  c.ellipse_azimuth_deg, c.sigma_height_m, c.displacement_m, c.displacement_east_m, c.displacement_north_m,
  c.heading_change_deg, c.matcher, c.depth, c.depth_is_oracle, c.scale_source, c.n_anchors, c.n_matches, c.n_inliers,
  c.inlier_coverage, c.median_residual_px, c.anchor_spread_m, c.recorded_at, i.device_make, i.device_model, i.creator,
  i.page_url, i.licence, c.geom
from current_result c
join image i on i.image_id = c.image_id
where c.status <> 'rejected';

-- view: rejected POINT | Photos that are not corrected, at their reported positions, with the reason.
select c.fid, c.image_id, i.sequence_id, i.captured_at, c.run_key, c.reason, m.meaning, c.detail, c.n_anchors, c.n_matches,
  c.n_inliers, c.recorded_at, i.lon_deg, i.lat_deg, i.heading_deg, i.device_make, i.device_model, i.creator, i.page_url,
  i.licence, i.geom
from current_result c
join image i on i.image_id = c.image_id
join reason m on m.reason = c.reason
where c.status = 'rejected';
