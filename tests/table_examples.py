"""Label files as tools write them, by "FORMAT: what is in it"; each is recognised as its format.

What each tool writes is in the source that is named; names and values are made up.
"""

from __future__ import annotations


def _table(*rows: str) -> bytes:
    """Rows with a blank where a tab is to be, and "_" for a blank."""
    return "".join(row.replace(" ", "\t").replace("_", " ") + "\n" for row in rows).encode()


_RAVEN = "Selection View Channel Begin_Time_(s) End_Time_(s) Low_Freq_(Hz) High_Freq_(Hz)"

# Raven Pro's own tables are in the folder of real recordings, too; its sound selection tables add
# Begin Path, Begin File and File Offset (s).
RAVEN = {
    "raven: each view": _table(
        f"{_RAVEN} Species",
        "1 Waveform_1 1 1.5 2.5 0.0 8000.0 ",
        "1 Spectrogram_1 1 1.5 2.5 500.0 4000.0 WOTH",
        "1 Spectrogram_1 2 1.5 2.5 500.0 4000.0 EATO",
        "2 Spectrogram_1 1 4.0 4.0 500.0 4000.0 click",
        "2 Waveform_1 1 4.0 4.0 0.0 8000.0 click",
        "3 Waveform_1 1 5.0 6.0 0.0 8000.0 ",
    ),
    "raven: files of another machine": _table(
        f"{_RAVEN} Begin_Path Begin_File File_Offset_(s) Annotation ",
        "1 Spectrogram_1 1 10.0 12.0 0.0 8000.0 C:\\data\\a.wav a.wav 10.0 owl",
        "2 Spectrogram_1 1 61.5 63.0 0.0 8000.0 D:\\data\\b.wav b.wav 1.5 fox ",
        "3 Spectrogram_1 1 64.0 65.0 0.0 8000.0  c.wav 4.0",
    ),
    # BirdNET-Analyzer, save_as_rtable: times of files that had detections are added up.
    "raven: BirdNET": _table(
        "Selection Begin_Time_(s) End_Time_(s) Common_Name Scientific_Name Species_Code Confidence "
        "View Channel File_Offset_(s) Low_Freq_(Hz) High_Freq_(Hz) Begin_Path",
        "1 3.0 6.0 Common_Chaffinch Fringilla_coelebs comcha 0.8154 Spectrogram_1 1 3.0 0 15000 "
        "/in/a.wav",
        "2 120.0 123.0 House_Sparrow Passer_domesticus houspa 0.6394 Spectrogram_1 1 0.0 0 15000 "
        "/in/c.wav",
    ),
    "raven: nothing there": _table(f"{_RAVEN} Species "),
    "raven: measurements": _table(
        "Selection Begin_Time_(s) End_Time_(s) Peak_Freq_(Hz) Begin_Date Sound_Type",
        "1 0.5 1.5 440.0 2024/05/03 song",
        "2 2.5 3.5 880.0 2024/05/03 ",
    ),
}

# BirdNET-Analyzer, save_as_csv; a custom classifier's classes have no common name. Its older
# versions, result_file_for_csv and RTABLE_HEADER. The package birdnet, to_csv.
BIRDNET = {
    "birdnet: analyzer": b"""Start (s),End (s),Scientific name,Common name,Confidence,File
0.0,3.0,Glaucidium passerinum,Eurasian Pygmy Owl,0.9237,/in/a.wav
3.0,6.0,background,,0.5,/in/a.wav
""",
    "birdnet: older": b"""Start (s),End (s),Scientific name,Common name,Confidence
0.0,3.0,Turdus migratorius,American Robin,0.55
""",
    "birdnet: nothing there": b"Start (s),End (s),Scientific name,Common name,Confidence\n",
    "birdnet: for R": b"""filepath,start,end,scientific_name,common_name,confidence,lat,lon,week
/in/a.wav,0.0,3.0,Turdus merula,Eurasian Blackbird,0.71,-1,-1,-1
""",
    "birdnet: package": b"""input,start_time,end_time,species_name,confidence
"/in/a.wav",00:00:01.50,00:00:04.50,Turdus merula_Eurasian Blackbird,0.87
"/in/a.wav",01:01:00.00,01:01:03.00,Parus major_Great Tit,0.76
""",
}

# BirdNET-Analyzer, save_as_kaleidoscope, and KALEIDOSCOPE_HEADER of its older versions;
# Kaleidoscope's cluster.csv, with what conventions say of it.
KALEIDOSCOPE = {
    "kaleidoscope: BirdNET": b"""OFFSET,confidence,INDIR,FOLDER,IN FILE,DURATION,TOP1MATCH
3.0,0.81,/data/site,night1,a.wav,3.0,Common Chaffinch
""",
    "kaleidoscope: older BirdNET": b"""INDIR,FOLDER,IN FILE,OFFSET,DURATION,scientific_name,common_name,confidence,lat,lon,week,overlap,sensitivity
/data,night1,a.wav,0.0,3.0,Turdus merula,Eurasian Blackbird,0.7,-1,-1,-1,0.0,1.0
""",  # noqa: E501
    "kaleidoscope: clusters": b"""INDIR,FOLDER,IN FILE,OFFSET,DURATION,TOP1MATCH,TOP1DIST,MANUAL ID
D:\\\\site,2024,a.wav,1.5,0.25,cluster7,0.31,MYOLUC
D:\\\\site,,b.wav,2.5,0.5,cluster1,0.11,
""",
}

# DCASE and DESED: metadata of the tasks on sound events in domestic environments.
DCASE = {
    "dcase-strong: tabs": b"filename\tonset\toffset\tevent_label\na.wav\t0.5\t1.25\tSpeech\n"
    b"b.wav\t\t\t\nc.wav\t2\t3\tDog\n",
    "dcase-strong: commas": b"filename,onset,offset,event_label,confidence\n"
    b"a.wav,0.5,1.25,Dog,0.5\n",
    "dcase-strong: no header": b"a.wav\t0.500\t1.250\tSpeech\nb.wav\t2.0\t3.0\tDog\n",
    "dcase-strong: no label": b"a.wav\t0.500\t1.250\nb.wav\t2.0\t3.0\n",
    "dcase-weak: tabs": b"filename\tevent_labels\na.wav\tSpeech,Running_water\nb.wav\n",
}

# AudioSet's audioset_eval_strong.tsv and audioset_eval_strong_framed_posneg.tsv.
AUDIOSET = {
    "audioset: strong": b"segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"
    b"YxlGt805lTA_30000\t2.627\t7.237\t/m/053hz1\n",
    "audioset: framed": b"segment_id\tstart_time_seconds\tend_time_seconds\tlabel\tpresent\n"
    b"YxlGt805lTA_30000\t0.960\t1.920\t/m/04rlf\tPRESENT\n"
    b"YxlGt805lTA_30000\t0.960\t1.920\t/m/07rgkc5\tNOT_PRESENT\n",
}

# crowsetta, formats/seq/simple.py and generic.py, which writes "None" for a path that it lacks.
CROWSETTA = {
    "crowsetta-simple: birdsong": b"onset_s,offset_s,label\n0.1,0.25,a\n0.3,0.45,b\n",
    "crowsetta-generic: both": b"""label,onset_s,offset_s,onset_sample,offset_sample,notated_path,annot_path,sequence,annotation
a,0.1,0.25,3200,8000,bird1.wav,bird1.mat,0,0
b,,,16000,24000.0,bird2.wav,bird2.mat,0,1
c,1.5,2.5,,,None,bird3.mat,0,2
""",  # noqa: E501
}

# osmose-app, report of a campaign, old and new; OSmOSE post_processing's F-POD tables.
APLOSE = {
    "aplose: old": b"""dataset,filename,start_time,end_time,start_frequency,end_frequency,annotation,annotator,start_datetime,end_datetime,is_box,confidence_indicator_label,confidence_indicator_level,comments
SPM,sound001.wav,108.25,224.5,7520.0,13696.0,Odontocetes,ann,2012-10-03T10:01:48.250+00:00,2012-10-03T10:03:44.500+00:00,1,confident,1/3,
SPM,sound001.wav,0,900.0,0,16384.0,Boat,ann,2012-10-03T10:00:00.000+00:00,2012-10-03T10:15:00.000+00:00,0,,0/0,
SPM,sound002.wav,0,900.0,0,16384.0,,ann,2012-10-03T11:00:00.000+00:00,2012-10-03T11:15:00.000+00:00,,,,nothing here |- ann
""",  # noqa: E501
    "aplose: new": b"""dataset,filename,result_id,is_update_of_id,start_time,end_time,min_frequency,max_frequency,annotation,annotator,annotator_expertise,start_datetime,end_datetime,is_box,type,confidence_indicator_label,confidence_indicator_level,comments
SPM,a.wav,1,,5.5,9.5,100.0,,Click,ann,EXPERT,2024-05-03T10:00:05.500+00:00,2024-05-03T10:00:05.500+00:00,0,POINT,,,
SPM,a.wav,2,,,,,,Boat,ann,EXPERT,2024-05-03T10:00:00.000+00:00,2024-05-03T10:15:00.000+00:00,0,WEAK,,,
""",  # noqa: E501
    "aplose: clock": b"""dataset,filename,start_time,end_time,start_frequency,end_frequency,annotation,annotator,start_datetime,end_datetime,is_box
site,,0,60,0,0,porpoise,POD,2023-11-29T08:30:00.000+02:00,2023-11-29T08:31:00.000+02:00,0
""",  # noqa: E501
}

# JaneliaSciComp/SongExplorer: NAME.wav-annotated-PERSON.csv.
SONGEXPLORER = {
    "songexplorer: fly": b"""fly.wav,2103,4445,annotated,ambient
fly.wav,6287,9415,annotated,mel-sine
"""
}

PLAIN = {
    "csv: seconds": b"""path,start,end,label,low_f,high_f,channel,confidence
a.wav,0.5,00:00:01.5,owl,100,4000,1,0.5
"b, c.wav",2,3,"barn owl, young",,,,
d.wav,,,,,,,
""",
    "csv: duration": b"file;onset;duration;species\na.wav;0.5;1;owl\nb.wav;2;;fox\n",
    "csv: states": b"""file,start,end,label,state
a.wav,0,10,owl,present
a.wav,0,10,fox,absent
b.wav,0,10,fox,uncertain
""",
    "csv: one recording": b"labels\tstart\tstop\nmusic\t0.0\t22.48\nnoEnergy\t22.48\t29.08\n",
    "csv-samples: one recording": b"start_sample,end_sample,label\n0,4395,six\n4395,9043,zero\n",
}

TEXTS = {
    **RAVEN, **BIRDNET, **KALEIDOSCOPE, **DCASE, **AUDIOSET, **CROWSETTA, **APLOSE,
    **SONGEXPLORER, **PLAIN,
}  # fmt: skip
