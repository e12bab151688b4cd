-- Tells the service of each new ultrasound image at once. A hint and no more: what is lost here, because the service
-- was down, is found in Orthanc's change log (EFSNET_PACS_ORTHANC_URL) or by the next search.
--
-- The service answers as soon as the order is on its disk. Orthanc waits for that answer: keep "HttpTimeout" in
-- orthanc.json low, so that a service that hangs does not hold up the scanners.

local SERVICE = os.getenv('EFSNET_URL') or 'http://service:8000'
local KEY = os.getenv('EFSNET_KEY')

function OnStoredInstance(instance, tags, metadata, origin)
  -- What the service itself stores is of other modalities.
  if tags['Modality'] ~= 'US' then
    return
  end

  local headers = { ['Content-Type'] = 'application/json' }
  if KEY and KEY ~= '' then
    headers['Authorization'] = 'Bearer ' .. KEY
  end
  local order = {
    study_instance_uid = tags['StudyInstanceUID'],
    series_instance_uid = tags['SeriesInstanceUID'],
    sop_instance_uid = tags['SOPInstanceUID'],
  }
  if HttpPost(SERVICE .. '/v1/jobs', DumpJson(order, true), headers) == nil then
    print('The segmentation service did not take an order; it will find the image by itself.')
  end
end
