<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="en_US" sourcelanguage="en_US">
 <context>
  <name>CSRDDenoise</name>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>&amp;Denoised volume:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>&amp;Full-dose reference:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>&amp;Keep measured above (mm):</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>&amp;MR volume:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>&amp;PET volume:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>&amp;Quality:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>&amp;Seed:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>&amp;Where to run:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>0 shows the PET in the first view, 1 the denoised volume in the same place.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>A full-dose PET of the same scanner and protocol, of any head. With it the run estimates which share of its counts the PET has; the denoised PET does not depend on it.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Add a model from a folder with model.safetensors and metadata.json.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Add all frames</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Add every frame of the dynamic PET (sequence) that is chosen under Inputs; the results become sequences of the same browser.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Add the PET, the MR and the region chosen under Inputs to the table.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Add this pair</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Advanced</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>An ROI, or the visible segments of a segmentation, with 8 mL of the head or more: only this part is denoised, which takes less time and memory. Outside of it the result is the PET as it was measured.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Apply</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Arithmetic of the network. Automatic takes 16 bit (bfloat16) where the device computes faster in it, and 32 bit elsewhere.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Certificates:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Choose a PET volume first.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Choose a folder of certificates: ca.pem, cert.pem and key.pem.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Choose whether a map of the uncertainty is made. The posterior mean alone has none.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Choose...</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Clear</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Compare</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Compare side by side</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Compare with a full-dose volume</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Copy log</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Copy the log to the clipboard, for a bug report.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Coronal maximum intensity projections of PET and denoised through the whole volume; slices again when off.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Create new label map</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Create new volume</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Crosshair</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Denoise all</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Denoise every pair that waits; the results lie beside their PETs. Pressed again it cancels.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Denoised</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.py" />
   <source>Denoises brain PET with the help of its MR by volumetric conditional score-based residual diffusion. Choose PET and MR, press Apply, and compare the result with its difference and its uncertainty.&lt;br&gt;&lt;br&gt;From the Python console:&lt;br&gt;&lt;code&gt;from CSRDDenoise import CSRDDenoiseLogic&lt;br&gt;result = CSRDDenoiseLogic().denoise(petVolume, mrVolume, preset='balanced', seed=0)&lt;br&gt;result.denoisedVolume, result.differenceVolume, result.uncertaintyVolume, result.provenance&lt;/code&gt;&lt;br&gt;&lt;br&gt;For research only; not for diagnosis.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Details...</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Device:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Difference</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Difference map:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Draw line</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Draws from the posterior, 1 to 200; the uncertainty is taken from their spread. The posterior mean has none.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Empty the table; the volumes stay in the scene.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Fade between PET (0) and denoised (1) in the first view of the comparison.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Fast: the posterior mean alone, one evaluation. Balanced: 2 samples for the uncertainty. Quality: 16 samples.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Findings of the checks of this run, warnings first.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Findings of the comparison, such as another grid.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Full dose:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>How much of the run is done.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>How the residual is drawn: DPM-Solver++ (few steps), Heun (the paper's), or the posterior mean (one evaluation, no uncertainty).</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Import...</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Inputs</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Label map or segmentation whose regions are measured, or none.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Label map or segmentation whose regions are measured, or none. Segments must not overlap.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Load table...</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Load the volumes of a TSV file with the columns 'pet' and 'mr' and add them to the table.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Log</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>M&amp;odel:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>MIP</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Make a label map of the structure that the PET's counts do not support.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Make the quality report of the result, one HTML page, and open it in the web browser (Alt+R).</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Measure PET and denoised against the full dose: PSNR, SSIM and NRMSE in the head, bias in the brain, and every region.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Messages of all runs, newest last.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Model and quality</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Move the MR rigidly to where it fits the PET best before it is used. The volume itself stays where it is; the motion becomes a transform node.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Noise levels that the sampler visits, 1 to 200. More is slower. The posterior mean has none.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>None</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>One crosshair in all views: hold Shift and move the mouse. Off restores the former mode.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Open report</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Outputs</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>PET</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>PET and MR pairs, each with its region, denoised one after the other with the settings above; one failure does not stop the others.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>PET and denoised against the full dose. PSNR, SSIM and NRMSE: in the head; bias: of the mean; limits of agreement: 1.96 standard deviations over the regions.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>PET to denoised:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>PET/MR denoising (CSRD)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Patch overlap:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Patch size:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Plot:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Precision:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Profile along:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Put a line through the middle of the first view and plot PET and denoised along it (400 points, interpolated linearly). Drag its ends.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Re&amp;gion:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Receives 1 where structure was added and 2 where it was removed that the PET's counts do not support. None makes a new label map.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Receives denoised - PET, in the PET's unit. None makes a new volume.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Receives the denoised PET, in the PET's unit. None makes a new volume.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Receives the error to expect, one standard deviation, voxel by voxel. None makes a new volume.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Regions:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Register MR to PET</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Results</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Sampler:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Samples:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Select the PET</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Several at once</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Share of a patch's side that it has in common with its neighbour, 0 to 0.9. More has fewer seams and is slower.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Show PET, denoised, difference (and uncertainty) in linked slice views, and the histogram of the difference (Alt+C).</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Show the technical details of what went wrong.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Side of the patches in voxels of the model's grid, 1 to 512. Automatic (0) takes the whole head when it fits the memory.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>State of the run, or its error.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Steps:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Switch the first view between PET and denoised (Alt+T).</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>The MR of the same head, registered to the PET in space (any grid). None is possible with models that were trained for it.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>The folder with ca.pem, cert.pem and key.pem that a tls:// address needs; the choice stays in Slicer's settings. Those of Dask's configuration are found under distributed.comm.tls.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>The full dose of the same scan, on any grid, in the unit of the PET.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>The full dose of the same scan, on any grid, in the unit of the PET. It is only read.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>The line markup along which the profile is plotted; also one of your own.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.py" />
   <source>The method is conditional score-based residual diffusion (CSRD) with the samplers and the preconditioning of Karras et al. 2022. Licence: Apache-2.0.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>The noisy (low-dose) PET. It is read and never changed.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>The only source of randomness, 0 to 2147483647: the same seed gives the same result.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>The slider moves a split across the first view, denoised left and PET right of it, instead of fading.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>The trained model. Its card is shown below.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>The workers at the address, or why there is none; it has 5 s to answer.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Time and memory for the chosen volume, device and quality, from a measurement on this computer.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Toggle</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Uncertainty</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Uncertainty map:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Unsupported</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Unsupported structure:</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>What is coarser than this width (FWHM of a Gaussian, 0 to 40 mm) stays as it was measured; finer details come closer to their measured strength the smaller it is. 0 gives the PET itself; large values leave more to the model, with less noise. Live: the model does not run again.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>What the model was trained for.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>What the module read from the chosen volume, and problems with it.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>What the plot below the views shows.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>What the plot below the views shows: the histogram of the difference, a profile along a line, or the regions against a full dose.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>What the run changed: in the head, in the whole volume, and the noise in a flat cube of the brain; named as in the report.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Where the network runs. Automatic takes a GPU if there is one.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Where the run takes place: this computer, or the address of a Dask scheduler such as tls://host:8786 (type it and press Enter). The PET and the MR go there, and the results come back.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Whole head</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Wipe</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>automatic</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>denoised</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>measure</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>CSRDDenoiseLib.sentences</name>
  <message>
   <location filename="sentences.py" />
   <source>; '{nearest}' may be meant</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>; about dose {dose:fraction} of the full-dose reference</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>; about dose {dose:fraction}, likely {largest_dose:fraction} to {smallest_dose:fraction}, if its full dose was typical of the training; for a better estimate, {hint:full_dose_reference}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>; known are {known}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>By its BIDS sidecar the {what} begins {seconds:g} s after the injection. Converters write 0 where they do not know the time of the injection. If it was earlier, the SUV is too small: correct InjectionStart, in seconds.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>By its header the {what} was not corrected for attenuation ({stated}), so that its values fall towards the centre of the head. Use the corrected image.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>In {pairs} pairs of neighbours the PET falls from its largest values, near {largest:.5g}, to near {lowest:.5g}: values too large for the type of a file were stored as negative. Convert the PET again.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>Left and right of the MR may be exchanged: the mirrored MR fits the PET better (normalised mutual information {nmi_mirrored:.3f} mirrored, {nmi_best:.3f} as given). Check the orientation of both files.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>Much of the detail finer than the model's voxels of {model_mm:g} mm remains: the PET's voxels are {sides:sides} mm, and {left:.0%} of the noise of single voxels remains.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>Noise remains: the result still has about {share:.0%} of the PET's fine noise, {level:.1%} of the brain mean.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>Nothing coarser than {above_mm:.1f} mm was added or removed. Finer details were adjusted to the strength that the PET shows.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>Only the region was denoised, {head_ml:.0f} mL or {share:.0%} of the head; outside it the result is the PET as it was measured.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>Only {head_ml:.0f} mL of the PET stand out from the background, less than any head in the training data ({limit_ml:.0f} mL or more): part of the head may be missing.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>PET and MR are misaligned: {reason:phrase}. Inspect both images, and register the MR to the PET ({hint:register}) or leave the MR out.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>PET and MR share too little information to measure their offset, and the outlines of the heads overlap by {outline_overlap:.0%}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The BIDS sidecar of the {what} gives frame {frame} the time from {start_s:g} to {end_s:g} s, which is empty or runs into the next frame. The times were not used. Correct FrameTimesStart and FrameDuration, both in seconds.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The BIDS sidecar of the {what} gives times of {stated} frame(s), but the {what} has {count}; they were not used. Correct FrameTimesStart and FrameDuration.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The MR covers only {covered:.0%} of the brain in the PET; the rest was denoised without MR.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The MR covers only {covered:.0%} of the head in the PET; check that the two are registered.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The MR may have been acquired after contrast agent: its brightest spots in the brain are {tail:.2f} times as bright as its bright tissue, and up to {limit:g} is usual. Vessels could appear in the result; use an MR without contrast agent, if there is one.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The MR may not be T1-weighted: deep brain minus cortex is {depth_contrast:+.0%} of the tissue around them, and {limit:+.0%} or more is usual for T1. The model was trained mostly on T1.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The MR was moved by {offset_mm:.1f} mm and {angle_degrees:.1f} degrees to fit the PET.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The PET has about {estimate:.2g} of the counts of the full-dose reference.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The PET is {kind:phrase} than anything this model was trained on (noise level {level:.3g}, trained {low:.3g} to {high:.3g}{relative_to:phrase}). The result is an extrapolation; compare it with that of the model 'tissue'.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The PET is {kind:phrase} than scans of its dose that this model was trained on: its noise level is {level:.3g} (trained {low:.3g} to {high:.3g}), though its dose, about {dose:fraction}, was trained. Its reconstruction, filter or voxels differ from the training's; compare the result with the PET.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The PET may lack attenuation correction: activity in the brain falls towards the centre, as it does without the correction (score {score:.2f}, up to {limit:g} is usual; the rim of the head has {rim_share:.0%} of the activity at the centre). Check the reconstruction.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The PET seems to be filtered already: its finest detail is about {detail_mm:.1f} mm wide, and up to {limit_mm:g} mm is usual. Use the unfiltered PET, if there is one.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The PET seems to be reconstructed by filtered back projection: {negative:.0%} of the voxels around the head are negative, with {noise_share:.0%} of the brain's noise. The bundled models were trained on OSEM images. Compare the result with that of the model 'tissue'.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The PET shows {body_mm:.0f} mm of a body; only its upper {head_mm:.0f} mm, assumed to be the head, are denoised, and the rest stays unchanged. Crop the PET to the head; to denoise all of it, {hint:whole_field}.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The PET's counts do not support the result in {regions} place(s): structure of {added_ml:.1f} mL was added and of {removed_ml:.1f} mL removed, by up to {largest_change:+.0%} of the brain mean, most around ({centre_mm:point}) mm (L, P, S). Inspect the PET there.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The PET's voxels are {sides:sides} mm; the model was trained on {low:g} to {high:g} mm, so the result is less certain. Compare it with the PET.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The PET's voxels of {sides:sides} mm are {anisotropy:.1f} times longer than wide; the model was trained on cubes, so detail along the long side is less certain.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The acquisition dates and times of the {what}'s {count} frames are missing or do not rise from frame to frame, so their times are unknown; the second half of the frames is used as the late frames. Check Acquisition Date and Acquisition Time.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The alignment of PET and MR is doubtful: {reason:phrase}. Inspect both images, and register the MR to the PET ({hint:register}) or leave the MR out.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The axes of the {what} are not quite perpendicular: the nearest rectangular grid was taken, and its corners are off by {distance_mm:.1f} mm.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The brain is cut off: bright tissue reaches the edge of the image at the {edges_cm2:areas}. Near the cut the result is less certain, and the brain mean is that of the remaining brain.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The brain mean of the PET is {ratio:.4g} times that of the full dose: check that both have the same unit and decay correction.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The brain's mean would be {suv:.3g} in SUV, and {low:g} to {high:g} is usual: the unit, the dose, the weight or a time in the header is wrong ({source}). Correct it before you use the SUV.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The detected head has {head_ml:.0f} mL, more than any real head ({limit_ml:.0f} mL): the air around it shows high activity, so brain mean, noise and result may be wrong. Crop the PET to the head.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The device {device} cannot compute this network ({reason}), so the run was made on the CPU.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The file '{file}' beside the {what} is damaged, or a link whose content is missing: its unit and times were not read.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The file does not name the PET's unit, and a brain mean of {brain_mean:.3g} is in the range of neither SUV ({suv[0]:g} to {suv[1]:g}) nor Bq/mL ({activity[0]:g} to {activity[1]:,.0f}). The result has the same unit; check that this is a PET and how it was scaled.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The file of the {what} holds {there} values, but its header states {needed}; the first {needed} were used. Check the size and the type in the header.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The folder holds {count} other DICOM series; the {what} was read from {series}.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The frames of the {what} have start times but no list of durations. Each frame is assumed to last until the next one begins, and the last frame as long as the one before.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The frames of the {what} last {hours:g} hours in all by its BIDS sidecar, longer than a scan. Their times were not used. Correct FrameTimesStart and FrameDuration, which are in seconds, not milliseconds.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The full dose covers {percent:.0f} % of the head; only that part was compared.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The full dose lies on another grid ({full}) and was resampled linearly to that of the PET ({pet}), which smooths its noise a little.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The full-dose reference has voxels of {reference_sides:sides} mm and the PET of {pet_sides:sides} mm, so their protocols differ and their noise was not compared. Use a full dose that was reconstructed like the PET.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The head moves by up to {largest_mm:.1f} mm between the frames (frame {frame} against the late frames; more than {limit_mm:g} mm in {frames}). The MR fits the late frames only; correct the motion of the PET first.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The header of the {what} gives lengths in the unit {unit}, which makes voxels of {sides:sides} impossible; they were read as mm.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The header of the {what} gives lengths in the unit {unit}; they were converted to mm.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The map of unsupported structure is empty because the PET, or its region, shows less than {limit_ml:g} mL of brain, too little to judge the result by its counts.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The model alone changes mean brain activity by {change:+.1%}, more than {limit:.0%}; the result changes it by {left:+.2%}. The input may be unlike what the model was trained on.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The qform of the {what} is not a rotation; the sform was used.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The registration found no better position for the MR (normalised mutual information {nmi_before:.3f} as given, {nmi_after:.3f} at best), so the MR keeps its position.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The registration of the MR to the PET did not converge, so the MR keeps its position; register the two by hand, or leave the MR out.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The result changes mean brain activity by {left:+.1%}, more than {limit:.0%}. Compare it with the PET.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The result equals the measured PET: all of it was kept.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The result is over-smoothed: about {share:.0%} of the structure of 5 to 12 mm that the PET's counts show is missing (up to {limit:.0%} is usual). Small lesions may have lost contrast; compare with the PET.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The sform and the qform of the {what} place it up to {distance_mm:.1f} mm apart; the sform (code {sform_code}) was used, not the qform (code {qform_code}). Check the position.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The texture of the PET's noise is like that of {kind:phrase} scans than this model was trained on, though its level is in the trained range (noise level {level:.3g}, trained {low:.3g} to {high:.3g}{relative_to:phrase}). Compare the result with the PET.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The uncertainty is not calibrated: the model's calibration is of version 0.2 or earlier, which defined the spread differently. It is the uncorrected estimate from samples and posterior mean; csrd-denoise calibrate fits a new calibration.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The uncertainty is not calibrated: the model's calibration was fitted for {fitted:recipe}, and this run used {used:recipe}. It is the uncorrected estimate from samples and posterior mean.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The unit of the PET is {pet}, that of the full dose {full}; they were compared as if they were the same.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The unit of the {what} is {unit} by its BIDS sidecar.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The values of the {what} are no longer those of the {count} DICOM files that it was loaded from, but its unit is still {unit}, as in the files. If the values were scaled, correct the unit, which the result takes over, or denoise the PET as it was loaded. Its SUV is unknown.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The values of the {what} were multiplied by {slope:.4g}, the scale in its Analyze header (funused1, by SPM's convention).</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The {what} had {count} of {size} voxels that are NaN or infinite ({share:.2g} of all); they were set to zero.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The {what} has no orientation ({kind}), so left, right and position are assumed; check them.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The {what} has no voxel size, so 1 mm is assumed; check it.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The {what} has the DICOM modality {modality}, but {wanted} is expected; check that it is the right series.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The {what} looks like a label map: its {count} values are whole numbers up to {largest} without a unit, and {equal:.0%} of neighbouring voxels are equal. Check that you chose the {what}.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The {what} series holds {count} slices, but its header states {announced}; check that it is one volume.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The {what} was compressed with loss at some point, which alters fine detail and noise. Use the series as the scanner stored it, if it is there.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The {what}'s sform has voxels of {sides:sides} mm, but its pixdim is {pixdim}; the sform was used.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>The {which} shows too little noise or brain to compare its counts, so no dose relative to the reference was measured.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>choose a 'Full-dose reference'</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>choose a folder of certificates; docs/cluster.md shows how to make them</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>choose another volume</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>choose files that both see</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>choose the device 'cpu'</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>choose the folder of certificates</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>choose the precision 'automatic'</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>filter by more entities</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>its session has no other PET</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>less noisy</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>noisier</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>pass whole_field=True from the Python console</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>repair it in the Segment Editor or a filter module</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>some of their voxels are NaN or infinite; {hint:nan_to_zero}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>switch on 'Register MR to PET'</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>the MR seems to be off by about {offset_mm:.1f} mm and {angle_degrees:.1f} degrees</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>the other PETs of its session are like '{example}'</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>the outlines of the heads overlap by {outline_overlap:.0%}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>their noise is outside of the range that this model was trained on</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>they show too few counts to detect a head</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>use 'Open report'</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>{count} frame(s) pass through unchanged ({frames}): {reason:phrase}.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>{count} frame(s) were not chosen and pass through unchanged ({frames}).</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>{count} of the PET's {slices} slices along axis {axis} of the file are out of scale with their neighbours, number {worst} by a factor of {factor:.3g}, as by a wrong rescale slope; the result cannot be trusted. Export the PET again.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>{count} of the PET's {slices} slices along axis {axis} of the file hold a single value, beginning with number {first}: data are missing there. Export the PET again.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>{count} of {size} voxels of the {what} are padding by the header (Pixel Padding Value), where nothing was measured; they were set to zero.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>{count} voxel(s) of the PET exceed {limit:.4g}, 50 times its 99.9 % quantile; the largest is at {largest_at} (from 1). The network received them clipped to this limit, and the result keeps them. Repair the PET.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>{count} voxels of the PET share its largest value, {largest:.5g}: larger values were cut off, as by a conversion to integers. The uptake there is too low, also in the result. Convert the PET again.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>{detail}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="sentences.py" />
   <source>{share:.0%} of the PET is exactly zero in large pieces, as after masking; the result is zero there too.</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>CSRDDenoiseModule.batch</name>
  <message>
   <location filename="batch.py" />
   <source>Cancel all</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>Denoise all</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>MR</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>PET</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>Region</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>Sequences were denoised without the full-dose reference: it is for static PETs, no result needs it.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>State</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>Table of pairs</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>The MR was removed from the scene.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>The PET shows another frame than when it was added. Show that one and add it again.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>The PET was removed from the scene.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>The region was removed from the scene.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>cancelled</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>done</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>failed</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>none</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>running</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>waiting</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>whole head</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>{count} warning(s)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>{done} of {count} pairs are denoised.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>{pet} (frame {index})</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>{pet} ({count} frames)</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>CSRDDenoiseModule.panel</name>
  <message>
   <location filename="panel.py" />
   <source>Apply</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>Cancel</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>Cancelling...</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>Choose a PET volume first.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>Denoise the PET (Alt+A)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>Drawing the report...</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>Folder of the model</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>No web browser opened the report. It is in {path}; open it, or a copy in another folder.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>Settings: {settings}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>Stop the run (Alt+A); the scene stays as it is.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>The chosen model needs an MR.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>The maps still follow the slider. Open the report again in a moment.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>The packages were not installed, so nothing was done. Press Apply to be asked again.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>The report is in {path}.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>The table was stopped because the scene was closed.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>This version does not have these settings of the scene: {settings}. Its defaults are used.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>Writing the volumes for the denoising process...</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>{text}, {time} left</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>CSRDDenoiseModule.parameters</name>
  <message>
   <location filename="parameters.py" />
   <source>Automatic</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="parameters.py" />
   <source>Custom</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="parameters.py" />
   <source>Folder of the certificates</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="parameters.py" />
   <source>This computer</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="parameters.py" />
   <source>Those of Dask's configuration</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="parameters.py" />
   <source>{value} (not here)</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>CSRDDenoiseModule.readiness</name>
  <message>
   <location filename="readiness.py" />
   <source>Asking {address}...</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>CSRDDenoise needs Python packages that are not installed yet:

{packages}

They are downloaded from the Internet into Slicer's Python, which can take some minutes. Install them now?</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>CSRDDenoise: install packages</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>Measuring the speed of {place}...</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>Open the Extensions Manager, install the extension 'PyTorch', restart Slicer, and press Apply again.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>PyTorch is not installed. It comes from Slicer's extension 'PyTorch', which is not installed either.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>PyTorch was not installed. Install it with the PyTorch Utils module, then try again.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>Python packages are missing: {names}. Open the CSRDDenoise module and press Apply to install them.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>The extension 'PyTorch' could not be installed. {by_hand}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>The extension 'PyTorch' is installed. Restart Slicer now?</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>The extension 'PyTorch' is installed. Restart Slicer, and press Apply again.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>needs an MR</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>runs without an MR too</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>this computer</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>{advice} The reason: {error}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>{description} Trained for {doses} of the full dose and voxels of {low:g} to {high:g} mm; {mr}.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>{names} could not be installed beside what is there ({pins}): {error}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>{name} (imported)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>{name} {version} is installed, but CSRDDenoise needs {minimum} or later. It was not replaced, because other modules may depend on it; update it when that suits them.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="readiness.py" />
   <source>{needed}

Install the extension now? Slicer has to be restarted afterwards; save your data first.</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>CSRDDenoiseModule.sequences</name>
  <message>
   <location filename="sequences.py" />
   <source>{pet} {kind}</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>CSRDDenoiseModule.volumes</name>
  <message>
   <location filename="volumes.py" />
   <source>{mr} registered to PET</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="volumes.py" />
   <source>{name} (earlier run)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="volumes.py" />
   <source>{pet} denoised</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="volumes.py" />
   <source>{pet} difference</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="volumes.py" />
   <source>{pet} estimate</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="volumes.py" />
   <source>{pet} uncertainty</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="volumes.py" />
   <source>{pet} unsupported structure</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>CSRDDenoiseModule.wording</name>
  <message>
   <location filename="wording.py" />
   <source> (SUV {value})</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>16 bit (bfloat16)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>16 bit (float16)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>32 bit</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>About {time} and {memory:.1f} GiB of memory</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Aligning PET and MR</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Automatic</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Balanced</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Centre of the cube</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Change of total activity</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Contrast kept, 5 to 12 mm</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>DPM-Solver++ (2M)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Denoising the frames</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Done in {time}.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Drawing the report</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Fast</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Heun (EDM)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>It does not overlap the PET: they are {gap:.0f} mm apart. Tick 'Register MR to PET'.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>It is one frame of a sequence (4D); Apply uses the frame shown now. 'Several at once' takes all frames.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Its transform '{name}' is not hardened; it is applied to a copy for the run.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Keeping the means of frames</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Largest difference</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Looking at the volume...</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Mean difference in the head</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>No estimate: {names} is not installed. Apply asks before it installs anything.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>No voxel is above zero.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Normalising</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Note</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Posterior mean</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Quality</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>R, A, S = {centre} mm</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Reading</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Restoring the PET's grid</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Sampling</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>The MR was moved by {mm:.1f} mm and {degrees:.1f} degrees; see the transform '{name}'.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>The volume holds no image.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>This is denoised already; choose the measured PET.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>This is the PET itself; choose the MR, or none.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>This looks like a PET; choose the MR here.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>This looks like an MR; choose the PET here.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Unsupported structure: nothing found.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Warning</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Writing</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>Writing the volumes</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>{count} voxels are NaN or infinite.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>{hours} h {minutes} min</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>{minutes} min {seconds} s</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>{seconds} s</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>{size} voxels of {spacing} mm, {maximum}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="wording.py" />
   <source>{stage}: step {step} of {of}</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>qSlicerAbstractCoreModule</name>
  <message>
   <location filename="CSRDDenoise.py" />
   <source>Nuclear Medicine</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>views.display</name>
  <message>
   <location filename="display.py" />
   <source>Unsupported structure</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="display.py" />
   <source>added</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="display.py" />
   <source>denoised - PET</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="display.py" />
   <source>nothing</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="display.py" />
   <source>removed</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="display.py" />
   <source>standard deviation</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>views.full_dose</name>
  <message>
   <location filename="full_dose.py" />
   <source>Against the full dose</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>Bias in the brain (%)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>Bias in the head (%)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>Compared with the full dose.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>Comparing with the full dose...</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>NRMSE (%)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>PET error (%)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>PSNR (dB)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>Regions against the full dose</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>Regions: bias (limits){unit}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>SSIM</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>The maps still follow the slider. Compare again in a moment.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>denoised</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>denoised error (%)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>equal</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>full dose</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>mL</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>measure</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="full_dose.py" />
   <source>region</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>views.look</name>
  <message>
   <location filename="look.py" />
   <source>A reader study is under way. Press Compare side by side after it.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="look.py" />
   <source>Difference in the head</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="look.py" />
   <source>Line</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="look.py" />
   <source>No profile: {error}. Apply asks to install what is missing.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="look.py" />
   <source>Profile</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="look.py" />
   <source>Regions, full dose</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="look.py" />
   <source>The PET of '{name}' is gone. Denoise it again.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="look.py" />
   <source>The volume '{name}' holds no image. Load it again.</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>views.plots</name>
  <message>
   <location filename="plots.py" />
   <source>Denoised - PET inside the head</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="plots.py" />
   <source>Difference in the head</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="plots.py" />
   <source>PET and denoised along {line}</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="plots.py" />
   <source>Regions against the full dose (Bland-Altman)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="plots.py" />
   <source>activity</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="plots.py" />
   <source>bias of denoised</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="plots.py" />
   <source>denoised</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="plots.py" />
   <source>difference</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="plots.py" />
   <source>distance (mm)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="plots.py" />
   <source>lower limit</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="plots.py" />
   <source>mean of both</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="plots.py" />
   <source>upper limit</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="plots.py" />
   <source>voxels</source>
   <translation type="unfinished" />
  </message>
 </context>
 <context>
  <name>views.results</name>
  <message>
   <location filename="results.py" />
   <source>The checks of this run noticed nothing.</source>
   <translation type="unfinished" />
  </message>
 </context>
</TS>
