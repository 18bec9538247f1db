"""What the screen says, in English and French. Short: most of it must fit in 52 columns."""

LANGUAGES = ("en", "fr")

_TEXTS = {
    "product": ("Cellule Appliance", "Cellule Appliance"),
    "starting": ("starting", "démarrage"),
    "ready": ("ready", "prêt"),
    "not_good": ("not ready", "pas prêt"),
    "unjudged": ("running", "en marche"),
    "open": ("Open in a browser of this network:", "À ouvrir dans un navigateur du réseau :"),
    "no_url": ("No network address yet.", "Pas encore d'adresse sur le réseau."),
    "claim_code": ("Claim code", "Code boîtier"),
    "claim_how": (
        "Type it on the page: it makes you the first admin.",
        "À saisir sur la page : il fait de vous l'admin.",
    ),
    "fingerprint": ("Fingerprint", "Empreinte"),
    "model": ("Model", "Modèle"),
    "model_ready": ("{models} answers", "{models} répond"),
    "model_demo": ("{models} answers (demo)", "{models} répond (démo)"),
    "model_away": ("no model answers", "aucun modèle ne répond"),
    "unknown": ("not known: storage can't be read", "inconnu : stockage illisible"),
    "workers": ("Workers", "Postes"),
    "workers_of": ("{ready} of {all} connected", "{ready} sur {all} connectés"),
    "workers_none": ("none invited", "aucun invité"),
    "requests": ("Requests", "Requêtes"),
    "requests_of": ("{count} in an hour, {waiting} waiting", "{count} en une heure, {waiting} en attente"),
    "pool_silent": ("{count} in an hour; the pool is silent", "{count} en une heure ; le pool se tait"),
    "release": ("Release", "Version"),
    "release_in": ("{version}, slot {slot}", "{version}, emplacement {slot}"),
    "update": ("Update", "Mise à jour"),
    "update_installing": ("installing {version}: {percent} %", "installation de {version} : {percent} %"),
    "update_installed": ("{version} starts at the next restart", "{version} au prochain redémarrage"),
    "update_failed": ("{version} was not installed", "{version} non installée"),
    "update_trying": ("{version} is on trial", "{version} à l'essai"),
    "data": ("Data", "Données"),
    "data_tpm": ("encrypted, bound to the TPM", "chiffrées, liées au TPM"),
    "data_by_key": ("encrypted, bound to no TPM", "chiffrées, liées à aucun TPM"),
    "data_plain": ("not encrypted", "non chiffrées"),
    "data_free": ("{how}; {free} of {size} free", "{how} ; {free} libres sur {size}"),
    "gigabytes": ("{count} GB", "{count} Go"),
    "step_data-partition": ("data partition", "partition de données"),
    "step_storage": ("storage", "stockage"),
    "step_broker": ("host broker", "courtier système"),
    "step_pool": ("pool", "pool"),
    "step_webadmin": ("web admin", "pages d'administration"),
    "step_front": ("TLS front", "entrée TLS"),
    "step_accelerator": ("processor", "processeur"),
    "step_answer": ("answers a question", "répond à une question"),
    "state_done": ("ok", "ok"),
    "state_running": ("..", ".."),
    "state_waiting": ("", ""),
    "state_failed": ("!!", "!!"),
    "data_missing": (
        "The data partition is not there. {detail} Nothing was changed on it.",
        "La partition de données est absente. {detail} Rien n'y a été modifié.",
    ),
    "storage_damaged": (
        "{detail} is damaged. Restore a backup, or reset the box.",
        "{detail} est endommagé. Restaurez une sauvegarde ou réinitialisez le boîtier.",
    ),
    "disk_full": (
        "The disk is full: {detail} left. New conversations and backups can't be kept.",
        "Le disque est plein : il reste {detail}. Conversations et sauvegardes ne sont plus conservées.",
    ),
    "clock_wrong": (
        "The clock is wrong: it says {detail}. Set a time server, or the clock of the machine.",
        "L'horloge est fausse : elle indique {detail}. Réglez un serveur de temps ou la machine.",
    ),
    "no_address": (
        "The network gives no address. Set one with key 1, or check the DHCP server.",
        "Le réseau ne donne pas d'adresse. Fixez-la avec la touche 1 ou vérifiez le DHCP.",
    ),
    "no_cable": ("No network cable is plugged in.", "Aucun câble réseau n'est branché."),
    "broker_away": (
        "The host broker does not answer: keys 1, 3 and 4 work again when it does.",
        "Le courtier système ne répond pas : les touches 1, 3 et 4 l'attendent.",
    ),
    "not_bound": (
        "This machine's TPM does not open the disk: each start asks for the recovery key.",
        "Le TPM de cette machine n'ouvre pas le disque : chaque démarrage demande la clé de secours.",
    ),
    "not_encrypted": ("No TPM: the disk is not encrypted.", "Pas de TPM : le disque n'est pas chiffré."),
    "found": ("This start is not good: {sentence} {next}", "Ce démarrage n'est pas bon : {sentence} {next}"),
    "story": (
        "Release {version} was started {tries}x and did not become good. {ending} The box went back to "
        "{running}; {version} is not tried again.",
        "La version {version} a démarré {tries} fois sans devenir bonne. {ending} Le boîtier est revenu à "
        "{running} ; {version} n'est plus essayée.",
    ),
    "story_unmounted": (
        "{version} ran well and no longer starts: {tries} starts ended before the data was mounted. Probably "
        "its copy on the disk is damaged. {running} runs from the other slot. Install {version} again.",
        "{version} marchait bien et ne démarre plus : {tries} démarrages arrêtés avant le montage des "
        "données. Copie sans doute abîmée sur le disque. {running} tourne depuis l'autre emplacement. "
        "Réinstallez {version}.",
    ),
    "story_damaged": (
        "{version} ran well and no longer starts: {tries} starts ended before a verdict. {ending} Probably "
        "its copy on the disk is damaged. {running} runs from the other slot. Install {version} again.",
        "{version} marchait bien et ne démarre plus : {tries} démarrages arrêtés avant leur verdict. "
        "{ending} Copie sans doute abîmée sur le disque. {running} tourne depuis l'autre emplacement. "
        "Réinstallez {version}.",
    ),
    "story_was_good": (
        "{version} ran well and no longer starts: {tries} starts ended before a verdict. {ending} "
        "{running} runs from the other slot. Install {version} again to write it anew.",
        "{version} marchait bien et ne démarre plus : {tries} démarrages arrêtés avant leur verdict. "
        "{ending} {running} tourne depuis l'autre emplacement. Réinstallez {version}.",
    ),
    "ending_check-failed": (
        "The check '{check}' failed: {sentence}",
        "Échec du contrôle « {check} » : {sentence}",
    ),
    "ending_hung": ("It hung after '{step}'.", "Elle s'est figée après « {step} »."),
    "ending_no-verdict": (
        "The check of the start itself broke off.",
        "La vérification du démarrage s'est interrompue.",
    ),
    "ending_stopped": ("It was restarted before its verdict.", "Elle a été redémarrée avant son verdict."),
    "ending_not-blessed": ("Its verdict could not be recorded.", "Son verdict n'a pas pu être noté."),
    "ending_never-arrived": ("Its kernel did not start.", "Son noyau n'a pas démarré."),
    "key_network": ("1 Network", "1 Réseau"),
    "key_fingerprint": ("2 Fingerprint", "2 Empreinte"),
    "key_restart": ("3 Restart", "3 Redémarrer"),
    "key_reset": ("4 Factory reset", "4 Réinitialiser"),
    "key_language": ("5 Français", "5 English"),
    "key_install": ("6 Install on a disk", "6 Installer sur un disque"),
    "key_qr": ("7 QR code", "7 QR code"),
    "back": ("Esc: back", "Échap : retour"),
    "working": ("One moment...", "Un instant..."),
    "network_title": ("Network", "Réseau"),
    "network_now": ("Now: {card} {addresses}", "Actuel : {card} {addresses}"),
    "network_no_address": ("no address", "sans adresse"),
    "no_carrier": ("(no cable)", "(sans câble)"),
    "field_method": ("Address from", "Adresse par"),
    "field_card": ("Card", "Carte"),
    "field_address": ("Address", "Adresse"),
    "field_gateway": ("Gateway", "Passerelle"),
    "field_dns": ("Name servers", "Serveurs DNS"),
    "method_dhcp": ("DHCP", "DHCP"),
    "method_static": ("typed here (static)", "saisie ici (statique)"),
    "network_keys": (
        "Space changes a choice. Enter: next field, then apply. Esc: back",
        "Espace change un choix. Entrée : champ suivant, puis appliquer. Échap : retour",
    ),
    "address_form": (
        "The address needs the length of its network: 192.168.1.20/24",
        "L'adresse doit porter la longueur du réseau : 192.168.1.20/24",
    ),
    "gateway_form": ("The gateway is an address: 192.168.1.1", "La passerelle est une adresse : 192.168.1.1"),
    "dns_form": (
        "Up to three addresses, parted by spaces: 192.168.1.1 9.9.9.9",
        "Trois adresses au plus, séparées par des espaces : 192.168.1.1 9.9.9.9",
    ),
    "gateway_outside": ("The gateway is not in {detail}", "La passerelle n'est pas dans {detail}"),
    "gateway_itself": ("The gateway can't be the box itself", "La passerelle ne peut pas être le boîtier"),
    "address_unusable": (
        "This is not an address that a machine of a LAN can have",
        "Une machine du réseau ne peut pas avoir cette adresse",
    ),
    "trial_title": ("Does the network work?", "Le réseau fonctionne-t-il ?"),
    "trial_text": (
        "The new setting holds. Without Enter it is undone in {seconds} s.",
        "Le réglage est en place. Sans Entrée, il est annulé dans {seconds} s.",
    ),
    "trial_keys": ("Enter: keep it. Esc: undo it now", "Entrée : garder. Échap : annuler maintenant"),
    "network_kept": ("The network setting is kept.", "Le réglage du réseau est gardé."),
    "network_undone": ("The former network setting is back.", "L'ancien réglage du réseau est revenu."),
    "fingerprint_title": ("Fingerprints (SHA-256)", "Empreintes (SHA-256)"),
    "fingerprint_certificate": ("Certificate of the pages", "Certificat des pages"),
    "fingerprint_authority": ("Certificate authority of this box", "Autorité de certification de ce boîtier"),
    "fingerprint_how": (
        "Your browser shows the same before you trust the page.",
        "Votre navigateur affiche la même avant que vous fassiez confiance à la page.",
    ),
    "none_yet": ("none yet", "pas encore"),
    "restart_title": ("Restart or turn off", "Redémarrer ou éteindre"),
    "restart_text": (
        "Answers that are being written are cut off.",
        "Les réponses en cours d'écriture sont coupées.",
    ),
    "restart_keys": ("R: restart. O: turn off. Esc: back", "R : redémarrer. O : éteindre. Échap : retour"),
    "restarting": ("The box restarts.", "Le boîtier redémarre."),
    "turning_off": ("The box turns off.", "Le boîtier s'éteint."),
    "reset_title": ("Factory reset", "Réinitialisation"),
    "reset_text": (
        "Everything on this box is erased for good: accounts, keys, conversations, settings. Workers must be "
        "invited again. Only a backup elsewhere, with its key, brings it back. A disk that is not encrypted "
        "is overwritten while the box starts: on a large one that takes hours.",
        "Tout ce que contient ce boîtier est effacé pour toujours : comptes, clés, conversations, "
        "réglages. Les postes devront être invités à nouveau. Seule une sauvegarde ailleurs, avec sa clé, "
        "le rend. Un disque non chiffré est réécrit au démarrage : des heures s'il est grand.",
    ),
    "reset_type": (
        "To erase it, type the name of the box, {name}, then Enter:",
        "Pour l'effacer, saisissez le nom du boîtier, {name}, puis Entrée :",
    ),
    "reset_wrong": ("That is not the name of this box.", "Ce n'est pas le nom de ce boîtier."),
    "resetting": ("The box restarts and erases its data.", "Le boîtier redémarre et efface ses données."),
    "install_title": ("Install on an internal disk", "Installer sur un disque interne"),
    "install_text": (
        "The box is copied from the stick to a disk. All that is on that disk is lost.",
        "Le boîtier est copié de la clé vers un disque. Tout ce que contient ce disque est perdu.",
    ),
    "install_none": ("There is no other disk in this machine.", "Aucun autre disque dans cette machine."),
    "install_type": (
        "Type the name of the disk, then Enter:",
        "Saisissez le nom du disque, puis Entrée :",
    ),
    "install_again": (
        "All on {disk} is lost. Type its name once more, then Enter:",
        "Tout sur {disk} est perdu. Saisissez son nom encore une fois, puis Entrée :",
    ),
    "install_unknown": ("There is no such disk in the list.", "Aucun disque de ce nom dans la liste."),
    "install_differs": (
        "That is another name. Nothing was changed.",
        "Ce nom diffère. Rien n'a été modifié.",
    ),
    "install_copying": ("Copying to {disk}: {percent} %", "Copie vers {disk} : {percent} %"),
    "install_verifying": ("Reading {disk} back: {percent} %", "Relecture de {disk} : {percent} %"),
    "install_installed": (
        "Done. Press Enter: the machine turns off. Then remove the stick and turn it on: "
        "it starts from {disk}.",
        "Terminé. Entrée : la machine s'éteint. Retirez alors la clé et rallumez : "
        "elle démarre depuis {disk}.",
    ),
    "install_lost": (
        "The install broke off: the host broker does not answer. If the stick was pulled out, plug it in, "
        "turn the machine off and on, and install again.",
        "L'installation s'est interrompue : le courtier système ne répond pas. Si la clé a été retirée, "
        "rebranchez-la, éteignez et rallumez la machine, puis recommencez.",
    ),
    "install_failed": ("It failed: {sentence}", "Échec : {sentence}"),
    "install_idle": ("One moment...", "Un instant..."),
}


def text(language: str, key: str, **values: object) -> str:
    """The sentence `key`. Raises KeyError for one that isn't in the table or lacks a value."""
    english, french = _TEXTS[key]
    return (french if language == "fr" else english).format(**values)
