"""Words that the demo's people are made of: names of many places, specialties, and sentences for their pages."""
# ruff: noqa: RUF001 - names are spelt as their owners spell them

# First names and family names, place by place.
NAMES: tuple[tuple[str, str], ...] = (
    ("Alice Oliver Harriet George Imogen Thomas Beatrice Edward Rosalind Simon Philippa Martin Cordelia Hugh",
     "Ashworth Bennett Carver Dunmore Ellison Fairclough Hartley Kendrick Marlowe Pemberton Radcliffe Thornton Whitfield"),
    ("Aoife Cormac Niamh Declan Siobhán Fergal Orla Ruairí Gráinne Eoin Saoirse Pádraig",
     "Brennan Cassidy Doherty Fitzgerald Gallagher Kavanagh McCarthy Nolan O’Sullivan Quinlan Tierney Walsh"),
    ("Anneliese Jürgen Katharina Matthias Friederike Stefan Ulrike Lukas Greta Tobias Hannelore Björn",
     "Albrecht Brückner Engel Hofmann Kessler Lindemann Möller Neumann Reinhardt Schäfer Vogt Zimmermann"),
    ("Camille Étienne Amélie Guillaume Hélène Mathieu Solène Baptiste Clémence Rémi Noémie Thibault",
     "Beaumont Chevalier Delacroix Fontaine Girard Lefèvre Marchand Perrault Renard Rousseau Vasseur Villeneuve"),
    ("Lucía Alejandro Valentina Joaquín Marisol Esteban Ximena Rodrigo Paloma Andrés Inés Santiago Pilar Gonzalo",
     "Aguilar Castellanos Domínguez Escobar Fuentes Guerrero Ibáñez Maldonado Navarro Quiroga Salazar Villalobos"),
    ("Beatriz Thiago Mariana Caetano Luísa Rafael Joana Gustavo Fernanda Otávio Tereza Vinícius",
     "Albuquerque Barbosa Carvalho Figueiredo Gonçalves Magalhães Moreira Nascimento Pereira Queiroz Teixeira Vasconcelos"),
    ("Adaeze Chukwuemeka Ngozi Babatunde Folake Ifeanyi Temitope Olumide Amarachi Segun Yewande Obinna",
     "Adeyemi Balogun Chukwu Eze Ibekwe Nwosu Obi Ogunleye Okafor Olawale Onyekachi Uzoma"),
    ("Akosua Kwame Abena Kofi Efua Yaw Wanjiru Kamau Achieng Otieno Nyambura Mwangi",
     "Asante Boateng Mensah Owusu Kariuki Kimani Odhiambo Njoroge Omondi Wekesa Agyeman Ofori"),
    ("Ananya Rohan Lakshmi Arjun Meera Vikram Kavya Siddharth Priyanka Nikhil Deepika Rajesh Ishita Harish",
     "Banerjee Chatterjee Desai Iyer Joshi Kulkarni Mehta Nair Patel Raghavan Sharma Venkataraman"),
    ("Amina Yusuf Leila Tariq Noor Khalid Samira Hamza Rania Bilal Zaynab Karim Hala Nabil",
     "Abbasi Darwish El-Masri Farouk Haddad Kassem Mansour Nasser Qureshi Rahman Siddiqui Zaman"),
    ("Elif Emre Zeynep Kerem Ayşe Burak Defne Mehmet Selin Ozan Nazlı Cem",
     "Aksoy Çelik Demir Erdoğan Güneş Kaplan Koç Öztürk Şahin Yıldız Yılmaz Aydın"),
    ("Darya Kaveh Shirin Arash Parisa Babak Nasrin Reza Mina Farhad Laleh Kamran",
     "Ahmadi Bahrami Farahani Ghorbani Hosseini Jafari Karimi Moradi Rostami Sadeghi Tehrani Zand"),
    ("Haruka Kenji Yuki Takeshi Ayumi Daisuke Naoko Hiroshi Sakura Ryōta Michiko Shun",
     "Fujimoto Hayashi Inoue Kobayashi Matsuda Nakagawa Ogawa Saitō Takahashi Ueda Watanabe Yamashita"),
    ("Ji-woo Min-jun Soo-ah Hyun-woo Eun-ji Tae-yang Mei Wei Xiuying Jian Linh Minh Thảo Quang",
     "Kim Park Choi Jeong Kang Chen Huang Zhao Lin Nguyễn Trần Phạm Vũ Hoàng"),
    ("Agnieszka Piotr Małgorzata Tomasz Zofia Krzysztof Milena Dragan Ivana Luka Katarína Ondřej",
     "Kowalczyk Nowicki Wiśniewski Zieliński Dąbrowski Petrović Jovanović Horvat Novák Dvořák Kovač Marković"),
    ("Ingrid Lars Freja Anders Sigrid Mikkel Astrid Henrik Liv Søren Aino Eero Elina Johan",
     "Andersson Bergström Dahl Eriksen Hagen Johansen Lindqvist Mäkinen Nygård Sandvik Virtanen Østergaard"),
    ("Chiara Matteo Giulia Lorenzo Elena Davide Eleni Nikos Despina Yiannis Sofia Kostas",
     "Bellini Conti Fontana Ferrara Marchetti Ricci Romano Vitale Papadopoulos Georgiou Nikolaidis Kostopoulos"),
    ("Aroha Wiremu Moana Tane Leilani Kai Mahina Rangi Naomi Eli Miriam Avi Talia Noam",
     "Parata Ngata Tamatea Kahale Mahoe Tuilagi Cohen Rosen Levin Shapiro Friedman Abrams"),
)  # fmt: skip

# What people type into their specialization, and how a sentence speaks of it.
SPECIALTIES: dict[str, str] = {
    "Anxiety": "people whose worry has taken over their days",
    "Depression": "people who have lost their energy and do not know where it went",
    "Couples": "couples who want to talk again without keeping score",
    "Trauma": "people who carry something that has not stopped happening for them",
    "EMDR": "people with memories that will not settle",
    "CBT": "people who want to understand a habit and then change it",
    "DBT": "people whose feelings arrive all at once",
    "Grief": "people who have lost somebody, recently or long ago",
    "Family therapy": "families in which everybody is tired of the same argument",
    "Adolescents": "teenagers, and the adults who are trying to understand them",
    "ADHD": "adults who found out late why everything took so much effort",
    "Addiction": "people who are done with promises and want a plan",
    "Eating disorders": "people at war with food or with the mirror",
    "Burnout": "people who kept going for too long",
    "OCD": "people who are ruled by thoughts they never asked for",
    "Perinatal": "parents for whom the first year is not what they were told",
    "LGBTQ+": "queer and trans people who do not want to explain the basics first",
    "Sleep": "people who have forgotten what a good night is",
    "Chronic pain": "people who live with pain and are tired of proving it",
    "Anger": "people whose anger costs them more than they want to pay",
    "Life transitions": "people between one life and the next",
    "Psychodynamic": "people who keep ending up in the same place",
}

# {years} and {topic} are filled in; every sentence can stand anywhere in its own kind of place.
SENTENCES: dict[str, tuple[str, ...]] = {
    "years": (
        "I have been a therapist for {years} years, and the first conversation still matters most to me.",
        "In {years} years of practice I have learned to trust small changes.",
        "After {years} years in this work I am slower to give advice and quicker to ask.",
        "I came from hospital work and have had a practice of my own for most of the last {years} years.",
        "For {years} years I have sat with people in their hardest weeks, and I do not take that lightly.",
        "My training began long before my first client; the {years} years since have taught me the rest.",
    ),
    "opening": (
        "Starting therapy takes some courage, and I try to make the first step an easy one.",
        "You do not need to have the right words before you come.",
        "Most people who write to me say that they should have written sooner.",
        "Perhaps you have managed alone for a long time and would like not to.",
        "I believe that people make sense, even when they do not make sense to themselves yet.",
        "Nothing that you bring has to be sorted out in advance.",
        "I grew up between two languages, and I listen for what gets lost between them.",
        "What brings people here is rarely the thing that we end up talking about.",
    ),
    "topic": (
        "I mostly see {topic}.",
        "Much of my week is spent with {topic}.",
        "I enjoy working with {topic}.",
        "My practice is a place for {topic}.",
        "Over time I have come to specialise in {topic}.",
        "Those I see most often are {topic}.",
    ),
    "approach": (
        "We agree on a goal early and look at it again every few weeks, so that you can tell whether this helps.",
        "I draw on cognitive and systemic ideas, and I explain what we do and why.",
        "I work at your pace, and I will also tell you when I think we are avoiding something.",
        "Between sessions I suggest small experiments, never homework for its own sake.",
        "I pay attention to the body as well as to the story, because it often knows first.",
        "My style is warm and fairly direct, with room for silence and for laughter.",
        "We look at what keeps the problem going today before we look for where it came from.",
        "I use what research supports, and I adapt it to the person in front of me.",
        "Sometimes we draw, sometimes we walk; mostly we talk.",
        "I ask a lot of questions in the beginning and fewer as we go on.",
    ),
    "personal": (
        "Outside the practice I sing in a choir that is better than I am.",
        "I am a parent of two, a poor gardener and a patient cook.",
        "I supervise younger colleagues, which keeps me honest.",
        "On Fridays I teach at the university; the students ask better questions every year.",
        "When I am not working I am usually somewhere near water.",
        "I volunteer for a crisis line one night a month.",
        "My dog is sometimes in the room; tell me if you would rather she were not.",
        "I read poetry before work. It is good training in listening.",
    ),
    "practical": (
        "I offer sessions in person and online, also in the early evening.",
        "The first call is free and takes twenty minutes.",
        "I keep a few places at a reduced fee; please ask.",
        "My room is on the ground floor and easy to reach with a wheelchair.",
        "I usually answer within two working days.",
        "At the moment there is a short waiting list for evenings.",
        "Sessions last fifty minutes, and longer for couples and families.",
        "If I am not the right person for you, I will help you to find one.",
    ),
}  # fmt: skip

# Orders of sentences; one with `years` is used only for people who have some.
PATTERNS_WITH_YEARS: tuple[str, ...] = (
    "years topic approach practical",
    "opening years approach personal",
    "topic years practical",
    "years opening topic approach personal practical",
    "topic approach years",
)
PATTERNS: tuple[str, ...] = (
    "opening topic approach",
    "topic approach personal practical",
    "opening approach topic practical",
    "personal topic approach",
    "opening topic",
    "topic practical",
)

# Ranges that their countries keep free for fiction; # is a digit.
PHONES: tuple[str, ...] = (
    "+44 7700 900###",
    "+44 7700 900###",
    "+1 212 555 01##",
    "+1 (415) 555-01##",
    "+61 491 570 1##",
    "+33 1 99 00 ## ##",
    "+49 30 23125 ###",
    "+353 20 915 ####",
    "020 7946 0###",
)

MAIL_HOSTS: tuple[str, ...] = ("example.com", "example.org", "example.net", "mail.example", "practice.example")
