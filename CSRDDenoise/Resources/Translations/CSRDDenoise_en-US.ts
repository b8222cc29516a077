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
   <source>Add the PET and the MR chosen under Inputs to the table.</source>
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
   <source>Copy the log to the clipboard, for a report.</source>
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
   <source>Draw the quality report of the result, one page to keep or to print, and open it in the web browser (Alt+R).</source>
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
   <source>Everything that happened, newest last.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Fade between PET (0) and denoised (1) in the first view of the comparison.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Fast: the mean estimate, one evaluation. Balanced: 2 samples for the uncertainty. Quality: 16 samples.</source>
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
   <source>Maximum intensity projections of PET and denoised, coronal, through the whole volume; their slices again when off.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Measure PET and denoised against the full dose: PSNR, SSIM and NRMSE in the head, bias in the brain, and every region.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Model and quality</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Move the MR rigidly to where it fits the PET best before it is used. The volume itself stays where it is; the movement comes as a transform to look at.</source>
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
   <source>One crosshair in all views: hold Shift and move the mouse. Off brings back what was before.</source>
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
   <source>PET and MR pairs, denoised one after the other with the settings above; one failure does not stop the others.</source>
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
   <source>What is coarser than this width (FWHM of a Gaussian, 0 to 40 mm) stays as it was measured. 0 gives the PET back; large values leave more to the model, with less noise. Live: the model does not run again.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>What is going on, or what went wrong.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>What the checks of this run noticed, warnings first.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>What the model was trained for.</source>
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
   <source>What was noticed while comparing, such as another grid.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>What was understood of the chosen volume, and what looks wrong with it.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Where the network runs. Automatic takes a GPU if there is one.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Where the run is made: this computer, or the address of a Dask scheduler such as tls://host:8786 (type it and press Enter). The PET and the MR go there, and the results come back.</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="CSRDDenoise.ui" />
   <source>Who works at the address, or why nobody can; it has 5 s to answer.</source>
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
   <source>The PET was removed from the scene.</source>
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
   <source>{count} warning(s)</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="batch.py" />
   <source>{pet} frame {number}</source>
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
   <source>Writing the volumes for the denoising process...</source>
   <translation type="unfinished" />
  </message>
  <message>
   <location filename="panel.py" />
   <source>{done} of {count} pairs are denoised.</source>
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
