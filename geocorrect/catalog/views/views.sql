-- Views that PostGIS and SQLite understand alike. A result is active when neither its run nor a run that this depends on
-- is rolled back, it is not retracted, and no newer active result exists for the same photo.
--
-- PostgreSQL plans at most eight relations together (join_collapse_limit): of more it reads whole tables for every map
-- window. "not in" over withdrawn runs, which are few, is answered once per query and is none of the eight.

-- view: withdrawn_run | Runs that are rolled back, or depend on one that is: their results are not active.
select r.fid, r.run_key, r.rolled_back_at
from run r
where r.rolled_back_at is not null
  or exists (
    select 1 from run_basis b join run basis on basis.fid = b.basis_id where b.run_id = r.fid and basis.rolled_back_at is not null
  );

-- view: run_in_force | Runs that are not rolled back, nor depend on one that is.
select r.fid, r.run_key from run r where r.fid not in (select w.fid from withdrawn_run w);

-- view: current_result POINT Z | The active result of every photo, corrected or rejected.
select c.*, r.run_key
from correction c
join run r on r.fid = c.run_id
where c.run_id not in (select w.fid from withdrawn_run w)
  and not exists (select 1 from retraction t where t.correction_id = c.fid)
  and not exists (
    select 1
    from correction newer
    where newer.image_id = c.image_id and newer.fid > c.fid
      and newer.run_id not in (select w.fid from withdrawn_run w)
      and not exists (select 1 from retraction t where t.correction_id = newer.fid)
  );

-- view: placed_photo POINT Z | Photos with a pose (active results), accepted or not: see status. Everyday work wants current_correction.
select c.fid, c.image_id, i.sequence_id, i.captured_at, c.run_key, c.status, c.lon_deg, c.lat_deg, c.height_m, c.heading_deg,
  c.pitch_deg, c.roll_deg, c.expected_error_m, c.expected_heading_error_deg, c.semi_major_m, c.semi_minor_m,
  c.ellipse_azimuth_deg, c.sigma_height_m, c.displacement_m, c.displacement_east_m, c.displacement_north_m,
  c.heading_change_deg, i.lon_deg as reported_lon_deg, i.lat_deg as reported_lat_deg, i.heading_deg as reported_heading_deg,
  i.computed_lon_deg, i.computed_lat_deg, i.computed_heading_deg, i.quality, c.matcher, c.depth, c.depth_is_oracle,
  c.scale_source, c.n_anchors, c.n_matches, c.n_inliers, c.inlier_coverage, c.median_residual_px, c.anchor_spread_m,
  c.recorded_at, i.device_make, i.device_model, i.creator, i.page_url, i.licence, i.path, c.geom
from current_result c
join image i on i.image_id = c.image_id
where c.status <> 'rejected';

-- view: current_correction POINT Z | Corrected photos (active results that are accepted), at their corrected positions.
select * from placed_photo where status = 'accepted';

-- view: review_queue POINT Z | Photos whose pose waits for a review: not accepted, possibly far off. See geocorrect review.
select * from placed_photo where status = 'review';

-- view: provider_comparison POINT Z | Accepted photos: how far the reported and the provider's computed position are from the corrected one.
select p.fid, p.image_id, p.sequence_id, p.quality, p.displacement_m as reported_to_corrected_m,
  sqrt(power(2 * 6378137 * cos(radians(p.lat_deg)) / sqrt(1 - 0.00669437999014 * power(sin(radians(p.lat_deg)), 2))
      * sin(radians(p.computed_lon_deg - p.lon_deg) / 2), 2)
    + power(2 * 6335439.327 / power(1 - 0.00669437999014 * power(sin(radians(p.lat_deg)), 2), 1.5)
      * sin(radians(p.computed_lat_deg - p.lat_deg) / 2), 2)) as computed_to_corrected_m,
  p.heading_deg, p.reported_heading_deg, p.computed_heading_deg, p.device_make, p.device_model, p.geom
from current_correction p
where p.computed_lon_deg is not null;

-- view: rejected POINT | Photos that are not corrected, at their reported positions, with the reason.
select c.fid, c.image_id, i.sequence_id, i.captured_at, c.run_key, c.reason, m.meaning, c.detail, c.n_anchors, c.n_matches,
  c.n_inliers, c.recorded_at, i.lon_deg, i.lat_deg, i.heading_deg, i.device_make, i.device_model, i.creator, i.page_url,
  i.licence, i.path, i.geom
from current_result c
join image i on i.image_id = c.image_id
join reason m on m.reason = c.reason
where c.status = 'rejected';

-- view: sequence_bias POINT Z | Mean error of the reported positions and headings of every sequence, at its first corrected photo.
with track as (
  select c.fid, i.sequence_id, i.device_make, i.device_model, c.displacement_east_m as de, c.displacement_north_m as dn,
    c.displacement_m, c.heading_change_deg,
    (lead(c.enu_x_m) over w - lag(c.enu_x_m) over w)
      / nullif(epoch_seconds(lead(i.captured_at) over w) - epoch_seconds(lag(i.captured_at) over w), 0) as ve,
    (lead(c.enu_y_m) over w - lag(c.enu_y_m) over w)
      / nullif(epoch_seconds(lead(i.captured_at) over w) - epoch_seconds(lag(i.captured_at) over w), 0) as vn
  from current_result c
  join image i on i.image_id = c.image_id
  where c.status = 'accepted' and i.sequence_id is not null
  window w as (partition by i.sequence_id order by i.captured_at, i.image_id)
),
moving as (
  select sequence_id, count(*) as n,
    sum(de * ve + dn * vn) - (sum(de) * sum(ve) + sum(dn) * sum(vn)) / count(*) as covariance,
    sum(ve * ve + vn * vn) - (sum(ve) * sum(ve) + sum(vn) * sum(vn)) / count(*) as variance
  from track
  where ve is not null and vn is not null and de is not null
  group by sequence_id
),
summary as (
  select sequence_id, min(fid) as fid, min(device_make) as device_make, min(device_model) as device_model, count(*) as n_photos,
    avg(de) as mean_east_m, avg(dn) as mean_north_m, avg(displacement_m) as mean_displacement_m,
    max(displacement_m) as max_displacement_m,
    degrees(atan2(avg(sin(radians(heading_change_deg))), avg(cos(radians(heading_change_deg))))) as heading_bias_deg
  from track
  group by sequence_id
)
select s.fid, s.sequence_id, s.device_make, s.device_model, s.n_photos, s.mean_east_m, s.mean_north_m, s.mean_displacement_m,
  s.max_displacement_m, s.heading_bias_deg,
  case when m.variance > 0.25 * m.n then m.covariance / m.variance end as lag_s, c.geom
from summary s
join correction c on c.fid = s.fid
left join moving m on m.sequence_id = s.sequence_id;

-- view: current_sequence_finding | What every sequence as a whole says about its results and its device; corrected minus reported.
select f.fid, f.sequence_id, r.run_key, f.recorded_at, f.motion, f.note, f.n_photos, f.n_results, f.n_trusted, f.n_flagged,
  f.n_doubted, f.n_placed, f.n_sharpened, f.device_make, f.device_model, f.median_east_m, f.median_north_m, f.spread_m,
  f.heading_bias_deg, f.lag_s, f.translation_noise, f.rotation_noise
from sequence_finding f
join run_in_force r on r.fid = f.run_id
where not exists (
  select 1
  from sequence_finding newer
  join run_in_force newer_run on newer_run.fid = newer.run_id
  where newer.sequence_id = f.sequence_id and newer.fid > f.fid
);

-- view: device_finding | What the sequences of every kind of device say about it, on average; corrected minus reported.
select min(f.fid) as fid, f.device_make, f.device_model, count(*) as n_sequences, sum(f.n_trusted + f.n_placed) as n_photos,
  avg(f.median_east_m) as mean_east_m, avg(f.median_north_m) as mean_north_m, avg(f.spread_m) as mean_spread_m,
  degrees(atan2(avg(sin(radians(f.heading_bias_deg))), avg(cos(radians(f.heading_bias_deg))))) as heading_bias_deg,
  avg(f.lag_s) as lag_s
from current_sequence_finding f
where f.note = ''
group by f.device_make, f.device_model;

-- view: device_bias | Mean error of the reported positions and headings of every kind of device.
select min(c.fid) as fid, i.device_make, i.device_model, count(*) as n_photos, count(distinct i.sequence_id) as n_sequences,
  avg(c.displacement_east_m) as mean_east_m, avg(c.displacement_north_m) as mean_north_m,
  avg(c.displacement_m) as mean_displacement_m,
  degrees(atan2(avg(sin(radians(c.heading_change_deg))), avg(cos(radians(c.heading_change_deg))))) as heading_bias_deg
from current_result c
join image i on i.image_id = c.image_id
where c.status = 'accepted'
group by i.device_make, i.device_model;

-- view: run_summary | Every run with the number of its results.
select r.fid, r.run_key, r.started_at, r.finished_at, r.duration_s, r.n_starts, r.matcher, r.depth, r.alignment_version,
  r.code_version, r.rolled_back_at, count(c.fid) as n_results,
  sum(case when c.status = 'accepted' then 1 else 0 end) as n_accepted,
  sum(case when c.status = 'review' then 1 else 0 end) as n_review,
  sum(case when c.status = 'rejected' then 1 else 0 end) as n_rejected,
  avg(c.expected_error_m) as mean_expected_error_m
from run r
left join correction c on c.run_id = r.fid
group by r.fid, r.run_key, r.started_at, r.finished_at, r.duration_s, r.n_starts, r.matcher, r.depth, r.alignment_version,
  r.code_version, r.rolled_back_at;

-- view: run_diff POINT Z | Photos whose result differs between run_a and the later run_b, also those that only one of them has.
select cast(a.fid as bigint) * 2147483648 + b.fid as fid, ra.run_key as run_a, rb.run_key as run_b, a.image_id,
  a.status as status_a, b.status as status_b, a.reason as reason_a, b.reason as reason_b,
  sqrt((b.enu_x_m - a.enu_x_m) * (b.enu_x_m - a.enu_x_m) + (b.enu_y_m - a.enu_y_m) * (b.enu_y_m - a.enu_y_m)) as moved_m,
  a.expected_error_m as expected_error_a_m, b.expected_error_m as expected_error_b_m, coalesce(b.geom, a.geom) as geom
from correction a
join correction b on b.image_id = a.image_id and b.run_id > a.run_id
join run ra on ra.fid = a.run_id
join run rb on rb.fid = b.run_id
where a.status <> b.status or coalesce(a.reason, '') <> coalesce(b.reason, '')
  or coalesce(a.lon_deg, 999) <> coalesce(b.lon_deg, 999) or coalesce(a.lat_deg, 999) <> coalesce(b.lat_deg, 999)
  or coalesce(a.height_m, -99999) <> coalesce(b.height_m, -99999)
union all
-- Keys of photos that only one run has lie above all others (2 to the power of 62).
select 4611686018427387904 + cast(a.fid as bigint) * 2147483648 + rb.fid, ra.run_key, rb.run_key, a.image_id, a.status,
  cast(null as text), a.reason, cast(null as text), null, a.expected_error_m, null, a.geom
from correction a
join run ra on ra.fid = a.run_id
join run rb on rb.fid > ra.fid
where not exists (select 1 from correction b where b.run_id = rb.fid and b.image_id = a.image_id)
union all
select 4611686018427387904 + cast(b.fid as bigint) * 2147483648 + ra.fid, ra.run_key, rb.run_key, b.image_id,
  cast(null as text), b.status, cast(null as text), b.reason, null, null, b.expected_error_m, b.geom
from correction b
join run rb on rb.fid = b.run_id
join run ra on ra.fid < rb.fid
where not exists (select 1 from correction a where a.run_id = ra.fid and a.image_id = b.image_id);
